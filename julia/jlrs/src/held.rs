//! Objects in the hands of Julia's garbage collector, and the supertypes of their Julia types.

use acerust::capi::status::{Failure, Result};
use jlrs::data::managed::value::{Value, ValueData};
use jlrs::data::types::construct_type::{ConstructType, TypeVarEnv};
use jlrs::memory::target::Target;
use std::sync::{Arc, PoisonError, RwLock};

/// An object that lives until it is closed or garbage. What works with it meanwhile keeps it alive.
pub struct Held<T>(RwLock<Option<Arc<T>>>);

impl<T> Held<T> {
    pub fn new(object: T) -> Held<T> {
        Held(RwLock::new(Some(Arc::new(object))))
    }

    pub fn get(&self, kind: &str) -> Result<Arc<T>> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().ok_or_else(|| Failure::Handle(format!("this {kind} has been closed")))
    }

    pub fn is_open(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub fn release(&self) {
        let object = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        // Dropped when the lock is free again, which makes no one wait.
        drop(object);
    }
}

/// The Julia package that this library is a binding of, as an expression.
macro_rules! package {
    ($name:literal) => {
        concat!(
            "Base.loaded_modules[Base.PkgId(Base.UUID(\"c1d2f5e8-6b0a-4f3d-9a57-2e8d41b7c036\"), \"ACERust\")].",
            $name
        )
    };
}
pub(crate) use package;

/// An abstract type of the package.
macro_rules! abstract_type {
    ($Type:ident, $name:literal) => {
        pub struct $Type;

        // SAFETY: the type exists as long as the package, which is longer than the library is called.
        unsafe impl ConstructType for $Type {
            type Static = $Type;

            fn construct_type_uncached<'target, Tgt: Target<'target>>(target: Tgt) -> ValueData<'target, 'static, Tgt> {
                // SAFETY: the expression only looks something up, which nothing frees.
                unsafe {
                    let found = Value::eval_string(&target, package!($name));
                    found.expect("the library is loaded by the package ACERust").root(target)
                }
            }

            fn base_type<'target, Tgt: Target<'target>>(target: &Tgt) -> Option<Value<'target, 'static>> {
                // SAFETY: nothing frees the type.
                Some(unsafe { Self::construct_type_uncached(target).as_value() })
            }

            fn construct_type_with_env_uncached<'target, Tgt: Target<'target>>(
                target: Tgt,
                _: &TypeVarEnv,
            ) -> ValueData<'target, 'static, Tgt> {
                Self::construct_type_uncached(target)
            }
        }
    };
}

abstract_type!(BindingType, "Binding");
abstract_type!(ModelType, "ModelHandle");
abstract_type!(PlanType, "PlanHandle");
abstract_type!(GraphType, "GraphHandle");
abstract_type!(ListType, "ListHandle");
