//! Queues of work. What is queued again and again in the same way is replayed as one CUDA graph.

use super::context::{Context, failed};
use crate::Result;
use cudarc::driver::{result, sys};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sequences of a stream that are remembered.
const REMEMBERED: usize = 6;
/// Arguments of a kernel at most.
const MOST_ARGUMENTS: usize = 24;

/// An address and the allocation that it lies in, a number that never comes again; 0 for memory that the driver does not know.
/// Copies in a graph are tied to allocations, not to addresses alone.
#[derive(Clone, Copy, PartialEq)]
pub struct Place {
    pub address: u64,
    pub allocation: u64,
}

/// The number of a new allocation.
pub fn allocation() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Something that a stream does.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    Kernel {
        /// Function handles may come again once a module is gone, these numbers do not.
        module: u64,
        function: usize,
        blocks: [u32; 3],
        threads: u32,
        shared: u32,
        /// How many arguments.
        n: usize,
    },
    Fill {
        to: Place,
        byte: u8,
        bytes: usize,
    },
    Upload {
        to: Place,
        from: Place,
        bytes: usize,
    },
    Download {
        to: Place,
        from: Place,
        bytes: usize,
    },
}

/// Steps and the arguments of their kernels.
#[derive(Clone, Default, PartialEq)]
struct Sequence {
    steps: Vec<Step>,
    /// Where the arguments start in `words`.
    starts: Vec<usize>,
    words: Vec<u64>,
}

#[derive(Default)]
struct Recorder {
    active: bool,
    now: Sequence,
    /// The latest last; with a graph from the second time on.
    known: Vec<(Sequence, Option<LaunchGraph>)>,
    replays: usize,
}

/// Waits for its work when dropped.
pub struct Stream {
    pub raw: sys::CUstream,
    device: Arc<Context>,
    recorder: Mutex<Recorder>,
    /// Before and after the work of a call, where it is timed.
    timer: Mutex<Option<[Event; 2]>>,
}

/// A point in a stream.
struct Event(sys::CUevent);

// SAFETY: events may be used from any thread; those of a timer are kept behind a lock.
unsafe impl Send for Event {}

impl Event {
    fn new() -> Result<Event> {
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
        event.map(Event).map_err(failed("an event"))
    }

    fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: event and stream are alive.
        unsafe { result::event::record(self.0, stream.raw) }.map_err(failed("recording an event"))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and the driver keeps it until it is over. On a lost device there is nothing to free.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

// SAFETY: streams may be used from any thread.
unsafe impl Send for Stream {}
unsafe impl Sync for Stream {}

/// A kernel argument: its address and size.
#[derive(Clone, Copy)]
pub struct Argument {
    at: *mut c_void,
    bytes: usize,
}

impl Argument {
    pub fn new<T: ?Sized>(x: &T) -> Argument {
        Argument { at: (&raw const *x).cast_mut().cast(), bytes: size_of_val(x) }
    }
}

/// A kernel and its launch.
#[derive(Clone, Copy)]
pub struct Launch {
    pub module: u64,
    pub function: sys::CUfunction,
    pub blocks: [u32; 3],
    pub threads: u32,
    pub shared: u32,
}

impl Stream {
    pub fn new(device: &Arc<Context>) -> Result<Stream> {
        device.bind()?;
        let raw = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed("a stream"))?;
        Ok(Stream { raw, device: device.clone(), recorder: Mutex::default(), timer: Mutex::default() })
    }

    /// Lets the work that comes wait for what is in the stream `other` of the caller; 0 is the default stream.
    pub fn follow(&self, other: u64) -> Result<()> {
        let other = other as sys::CUstream;
        let what = "waiting for the caller's stream";
        self.device.bind()?;
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let event = result::event::create(flags).map_err(failed(what))?;
        // SAFETY: the event was created above; the caller vouches for its stream. A recorded event may be destroyed.
        unsafe {
            let waits = result::event::record(event, other).and_then(|()| {
                let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
                result::stream::wait_event(self.raw, event, flags)
            });
            let _ = result::event::destroy(event);
            waits.map_err(failed(what))
        }
    }

    pub fn wait(&self) -> Result<()> {
        // SAFETY: the stream is alive.
        unsafe { result::stream::synchronize(self.raw) }.map_err(failed("waiting for the kernels"))
    }

    /// Sends off what `f` queues, all of it at the end. Where it is what an earlier call queued, down to the last address and
    /// argument, it goes as one graph: nothing that matters can have changed unnoticed.
    ///
    /// `f` must not wait for its own work, nor let a buffer grow that it has passed to a kernel before.
    pub fn as_graph<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        {
            let mut recorder = self.recorder();
            recorder.active = true;
            recorder.now.clear();
        }
        let done = f();
        let mut recorder = self.recorder();
        recorder.active = false;
        let value = done?;
        let Recorder { now, known, replays, .. } = &mut *recorder;
        match known.iter().rposition(|(sequence, _)| sequence == now) {
            Some(k) => {
                // Those that come often stay.
                let (sequence, graph) = known.remove(k);
                let graph = match graph {
                    Some(graph) => graph,
                    None => LaunchGraph::new(self, now)?,
                };
                graph.launch(self)?;
                *replays += 1;
                known.push((sequence, Some(graph)));
            }
            None => {
                now.run(self)?;
                if known.len() == REMEMBERED {
                    known.remove(0);
                }
                known.push((now.clone(), None));
            }
        }
        Ok(value)
    }

    /// Times calls from now on, or no longer.
    pub fn set_timed(&self, timed: bool) -> Result<()> {
        self.device.bind()?;
        *self.timer() = if timed { Some([Event::new()?, Event::new()?]) } else { None };
        Ok(())
    }

    /// Marks the beginning (0) or the end (1) of what is timed.
    pub fn mark(&self, which: usize) -> Result<()> {
        match &*self.timer() {
            Some(events) => events[which].record(self),
            None => Ok(()),
        }
    }

    /// Milliseconds between the marks of the last call, which is over.
    pub fn milliseconds(&self) -> Option<f64> {
        self.device.bind().ok()?;
        // SAFETY: the events are alive; those that were never recorded are an error.
        let elapsed = |[start, end]: &[Event; 2]| unsafe { result::event::elapsed(start.0, end.0) }.ok();
        self.timer().as_ref().and_then(elapsed).map(f64::from)
    }

    fn timer(&self) -> MutexGuard<'_, Option<[Event; 2]>> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a graph was launched.
    pub fn replays(&self) -> usize {
        self.recorder().replays
    }

    /// # Safety
    /// The arguments must be what the kernel expects, and what they point to must be large enough and outlive it.
    pub unsafe fn launch(&self, launch: Launch, arguments: &[Argument]) -> Result<()> {
        let Launch { module, function, blocks, threads, shared } = launch;
        let mut recorder = self.recorder();
        if !recorder.active {
            let mut addresses = [std::ptr::null_mut(); MOST_ARGUMENTS];
            addresses.iter_mut().zip(arguments).for_each(|(to, a)| *to = a.at);
            // SAFETY: the addresses are those of the arguments, alive during the call, and the caller vouches for what they hold.
            return unsafe { kernel(launch, &mut addresses[..arguments.len()], self) };
        }
        let Sequence { steps, starts, words } = &mut recorder.now;
        for argument in arguments {
            let start = words.len();
            starts.push(start);
            words.resize(start + argument.bytes.div_ceil(8), 0);
            // SAFETY: there is room, and the arguments have no padding.
            unsafe {
                let to = words[start..].as_mut_ptr().cast::<u8>();
                to.copy_from_nonoverlapping(argument.at.cast(), argument.bytes);
            }
        }
        let n = arguments.len();
        steps.push(Step::Kernel { module, function: function as usize, blocks, threads, shared, n });
        Ok(())
    }

    /// # Safety
    /// There must be as many bytes, in memory that outlives the work.
    pub unsafe fn fill(&self, to: Place, byte: u8, bytes: usize) -> Result<()> {
        self.take(Step::Fill { to, byte, bytes })
    }

    /// From pinned memory that is left alone until the stream was waited for, or from any other.
    ///
    /// # Safety
    /// As [`Stream::fill`], at either end.
    pub unsafe fn upload(&self, to: Place, from: Place, bytes: usize) -> Result<()> {
        self.take(Step::Upload { to, from, bytes })
    }

    /// To pinned memory, or to any that is not looked at until the stream was waited for.
    ///
    /// # Safety
    /// As [`Stream::fill`], at either end.
    pub unsafe fn download(&self, to: Place, from: Place, bytes: usize) -> Result<()> {
        self.take(Step::Download { to, from, bytes })
    }

    fn take(&self, step: Step) -> Result<()> {
        let mut recorder = self.recorder();
        if recorder.active {
            recorder.now.steps.push(step);
            return Ok(());
        }
        // SAFETY: the word of those who call the functions above.
        unsafe { copy(step, self) }
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: nothing uses the stream any more. Errors of a lost device are not ours to handle.
            unsafe {
                let _ = result::stream::synchronize(self.raw);
                self.recorder().known.clear();
                let _ = result::stream::destroy(self.raw);
            }
        }
    }
}

impl Sequence {
    fn clear(&mut self) {
        self.steps.clear();
        self.starts.clear();
        self.words.clear();
    }

    fn run(&mut self, stream: &Stream) -> Result<()> {
        let Sequence { steps, starts, words } = self;
        let mut starts = &starts[..];
        for &step in &*steps {
            let Step::Kernel { module, function, blocks, threads, shared, n } = step else {
                // SAFETY: as when the step was queued.
                unsafe { copy(step, stream) }?;
                continue;
            };
            let (own, rest) = starts.split_at(n);
            starts = rest;
            let mut addresses = [std::ptr::null_mut(); MOST_ARGUMENTS];
            for (to, &start) in addresses.iter_mut().zip(own) {
                *to = words[start..].as_mut_ptr().cast();
            }
            let launch = Launch { module, function: function as sys::CUfunction, blocks, threads, shared };
            // SAFETY: as when the step was queued.
            unsafe { kernel(launch, &mut addresses[..n], stream) }?;
        }
        Ok(())
    }
}

/// # Safety
/// As [`Stream::launch`].
unsafe fn kernel(launch: Launch, arguments: &mut [*mut c_void], stream: &Stream) -> Result<()> {
    let Launch { function, blocks, threads, shared, .. } = launch;
    // SAFETY: the stream is alive; the driver copies the arguments before it returns, and the caller vouches for what they hold.
    let launched =
        unsafe { result::launch_kernel(function, blocks.into(), (threads, 1, 1), shared, stream.raw, arguments) };
    launched.map_err(failed("launching a kernel"))
}

/// Anything but a kernel.
///
/// # Safety
/// As [`Stream::fill`].
unsafe fn copy(step: Step, stream: &Stream) -> Result<()> {
    // SAFETY: the stream is alive; the caller vouches for `bytes` bytes at either end that outlive the copy.
    unsafe {
        match step {
            Step::Fill { to, byte, bytes } => {
                result::memset_d8_async(to.address, byte, bytes, stream.raw).map_err(failed("clearing"))
            }
            Step::Upload { to, from, bytes } => {
                let from = std::slice::from_raw_parts(from.address as *const u8, bytes);
                result::memcpy_htod_async(to.address, from, stream.raw).map_err(failed("copying to the device"))
            }
            Step::Download { to, from, bytes } => {
                let to = std::slice::from_raw_parts_mut(to.address as *mut u8, bytes);
                result::memcpy_dtoh_async(to, from.address, stream.raw).map_err(failed("copying to the host"))
            }
            Step::Kernel { .. } => unreachable!("launched elsewhere"),
        }
    }
}

/// A sequence ready to be launched.
struct LaunchGraph {
    raw: sys::CUgraphExec,
    device: Arc<Context>,
}

// SAFETY: a graph has one owner, a stream, and may be used from any thread.
unsafe impl Send for LaunchGraph {}

impl LaunchGraph {
    fn new(stream: &Stream, sequence: &mut Sequence) -> Result<LaunchGraph> {
        let what = "capturing a graph";
        stream.device.bind()?;
        // Only what this thread does in the meantime could break the capture.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: stream and graph are alive; the steps are as safe as they were without a graph.
        unsafe {
            result::stream::begin_capture(stream.raw, mode).map_err(failed(what))?;
            let ran = sequence.run(stream);
            let graph = result::stream::end_capture(stream.raw).map_err(failed(what));
            ran?;
            let graph = graph?;
            let mut raw = std::ptr::null_mut();
            let made = sys::cuGraphInstantiateWithFlags(&mut raw, graph, 0).result().map_err(failed(what));
            let _ = sys::cuGraphDestroy(graph);
            made?;
            Ok(LaunchGraph { raw, device: stream.device.clone() })
        }
    }

    fn launch(&self, stream: &Stream) -> Result<()> {
        // SAFETY: graph and stream are alive, and the addresses are those that the caller has just queued.
        unsafe { sys::cuGraphLaunch(self.raw, stream.raw) }.result().map_err(failed("launching a graph"))
    }
}

impl Drop for LaunchGraph {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: made by `new`; the driver keeps it until its last launch is done.
            let _ = unsafe { sys::cuGraphExecDestroy(self.raw) };
        }
    }
}
