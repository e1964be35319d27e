//! What packages install beside the program.

use super::ok;

#[test]
fn every_command_has_a_page_and_completions() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(ok(folder.path(), &["pages", "share"]), "");
    let read = |name: &str| std::fs::read_to_string(folder.path().join("share").join(name)).expect(name);
    let help = ok(folder.path(), &["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<_> = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(names.contains(&"eval") && !names.contains(&"pages"), "{names:?}");
    for name in names {
        assert!(read(&format!("man/man1/acerust-{name}.1")).contains(".SH OPTIONS"), "{name}");
        assert!(read("man/man1/acerust.1").contains(name), "{name}");
        for script in [
            "bash-completion/completions/acerust.bash",
            "fish/vendor_completions.d/acerust.fish",
            "zsh/site-functions/_acerust",
        ] {
            assert!(read(script).contains(name), "{script}: {name}");
        }
    }
}
