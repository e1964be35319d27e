//! What this machine is called.

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Processor, family, model and number of threads, fit for a file name.
pub fn name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key));
        line.and_then(|line| line.split(':').nth(1)).map(str::trim)
    };
    let parts = [
        field("model name").unwrap_or(std::env::consts::ARCH),
        field("cpu family").unwrap_or(""),
        field("model").unwrap_or(""),
    ];
    let words = parts.join(" ");
    let words: Vec<&str> = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    format!("{}-{}cpu", words.join("-"), cores())
}
