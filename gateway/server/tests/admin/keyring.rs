//! The keyring under another lock, while no server runs.

use crate::support::{Server, told};

#[test]
fn an_export_that_does_not_open_leaves_no_key_file_behind() {
    let mut server = Server::over(1);
    let at = |name: &str| server.folder.path().join(name);
    let [export, secret, wrong, key] = ["export", "pass", "wrong", "key"].map(at);
    std::fs::write(&secret, "correct horse battery\n").expect("written");
    std::fs::write(&wrong, "another phrase entirely\n").expect("written");
    let [export, secret, wrong] = [export, secret, wrong].map(|path| path.display().to_string());
    let made = server.run(&["keyring", "export", &export, "--passphrase-file", &secret]);
    assert!(made.status.success(), "{}", told(&made));
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    std::fs::remove_file(&key).expect("lost");
    let import = |secret: &str| {
        let words = [
            "keyring",
            "import",
            &export,
            "--offline",
            "--passphrase-file",
            secret,
        ];
        server.run(&words)
    };
    let refused = import(&wrong);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert!(
        told(&refused).contains("wrong passphrase"),
        "{}",
        told(&refused)
    );
    assert!(!key.exists(), "a key file that opens nothing");
    let done = import(&secret);
    assert!(done.status.success() && key.exists(), "{}", told(&done));
    server.launch();
}
