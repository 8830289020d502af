//! Stores of other versions of the programs.

use liaison_tests::fed::{Federation, Plan};

use crate::shared::ids;

/// Somebody goes back to an older program, which is this one.
#[test]
fn a_store_of_a_newer_format_is_refused_by_relay_and_daemon_and_left_as_it_is() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    let before = fed.send("ncb.sg", "ncb.ee", &["-s", "Before", "--body", "x"]);
    fed.await_delivered("ncb.sg", &before);
    for node in ["eu-1", "ncb.ee"] {
        assert_eq!(fed.stop(node), Some(0));
        let format = fed.node_folder(node).join("store/format");
        let ours = std::fs::read_to_string(&format).unwrap();
        std::fs::write(&format, "liaison store 4000\n").unwrap();
        let ended = fed.run_again(node);
        let said = ended.stdout + &ended.stderr;
        assert_eq!(ended.code, 78, "{said}");
        assert!(said.contains("has store format 4000, this program reads format"), "{said}");
        assert!(said.contains("use the program that wrote it, or a newer one"), "{said}");
        assert_eq!(std::fs::read_to_string(&format).unwrap(), "liaison store 4000\n");
        std::fs::write(&format, ours).unwrap();
        fed.start_node(node);
    }
    let after = fed.send("ncb.sg", "ncb.ee", &["-s", "After", "--body", "x"]);
    fed.await_delivered("ncb.sg", &after);
    assert_eq!(ids(&fed.inbox("ncb.ee")), [before.as_str(), after.as_str()]);
}
