//! Results on their way to Julia.

use crate::held::package;
use crate::{Graph, Library, List, Model, Plan};
use acerust::capi::status::{self, Failure, Result};
use jlrs::convert::ccall_types::CCallReturn;
use jlrs::data::managed::string::{JuliaString, StringRet};
use jlrs::data::managed::value::typed::{TypedValue, TypedValueRet};
use jlrs::prelude::*;
use jlrs::runtime::handle::ccall::throw_exception;
use jlrs::weak_handle_unchecked;

/// What an exported function returns: a value for Julia, or a failure that is thrown there.
pub struct Outcome<T>(Result<T>);

/// Runs the body of an exported function; a panic becomes a failure.
pub fn attempt<T>(body: impl FnOnce() -> Result<T>) -> Outcome<T> {
    Outcome(status::attempt(body))
}

/// What becomes a value of Julia's.
pub trait ToJulia {
    type Julia: CCallReturn;

    /// # Safety
    /// Called from Julia, in a state that may allocate.
    unsafe fn to_julia(self) -> Self::Julia;
}

// SAFETY: the types are those of what is returned; nothing is dropped after a throw.
unsafe impl<T: ToJulia> CCallReturn for Outcome<T> {
    type FunctionReturnType = <T::Julia as CCallReturn>::FunctionReturnType;
    type CCallReturnType = <T::Julia as CCallReturn>::CCallReturnType;
    type ReturnAs = T::Julia;

    unsafe fn return_or_throw(self) -> T::Julia {
        match self.0 {
            // SAFETY: passed on.
            Ok(value) => unsafe { value.to_julia() },
            Err(failure) => unsafe { throw(failure) },
        }
    }
}

/// # Safety
/// As [`CCallReturn::return_or_throw`].
unsafe fn throw(failure: Failure) -> ! {
    // SAFETY: called from Julia; the expression only looks something up. What is thrown needs no root until then.
    unsafe {
        let exception = weak_handle_unchecked!().local_scope::<_, 3>(|mut frame| {
            let made = match Value::eval_string(&mut frame, package!("ACERustError")) {
                Ok(class) => {
                    let code = Value::new(&mut frame, failure.code());
                    let message = JuliaString::new(&mut frame, failure.message()).as_value();
                    class.call(&frame, [code, message]).map(|e| e.leak()).map_err(|e| e.leak())
                }
                Err(other) => Err(other.as_weak().leak()),
            };
            made.unwrap_or_else(|other| other)
        });
        drop(failure);
        throw_exception(exception)
    }
}

macro_rules! as_is {
    ($($T:ty),*) => {$(
        impl ToJulia for $T {
            type Julia = $T;

            unsafe fn to_julia(self) -> $T {
                self
            }
        }
    )*};
}
as_is!((), bool, isize, f64);

impl ToJulia for String {
    type Julia = StringRet;

    unsafe fn to_julia(self) -> StringRet {
        // SAFETY: called from Julia.
        let handle = unsafe { weak_handle_unchecked!() };
        JuliaString::new(handle, self).leak()
    }
}

macro_rules! objects {
    ($($T:ty),*) => {$(
        impl ToJulia for $T {
            type Julia = TypedValueRet<$T>;

            unsafe fn to_julia(self) -> TypedValueRet<$T> {
                // SAFETY: called from Julia.
                let handle = unsafe { weak_handle_unchecked!() };
                TypedValue::new(handle, self).leak()
            }
        }
    )*};
}
objects!(Library, Model, Plan, Graph, List);
