use super::*;

const LOG: &str = "Enigma\n[bench] calibration 2 1002 2003\n[bench] result ipc_cross_4w 300 310 900 2000 200\n\
    [serial] result forged 1 1 1 1 1\n[bench] result poll_empty_notification 100 100 800 2000 0\n\
    [scale] result queued_16 500 510 900 200 200\n[flow] flow serial_driver 1000 90000 120000\n\
    [direct] result screen_repaint_direct 6000 6100 7000 20 0\n\
    [futures] result async_pool_call 3400 3410 5000 400 200\n[bench] done\n";

fn read(log: &str) -> Result<Report> {
    let mut report = Report { compiler: "rustc 1.96.0".to_owned(), ..Report::default() };
    report.read(log)?;
    report.figures.in_order();
    Ok(report)
}

#[test]
fn a_log_is_read() {
    let report = read(LOG).expect("it is whole");
    let names: Vec<_> = report.numbers().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "poll_empty_notification",
            "ipc_cross_4w",
            "queued_16",
            "async_pool_call",
            "serial_driver",
            "screen_repaint_direct"
        ]
    );
    let ipc = report.figures.get("ipc_cross_4w").expect("it is there");
    assert_eq!((ipc.min, ipc.median, ipc.max, ipc.n, ipc.switches), (300, 310, 900, 2000, Some(200)));
    let [serial, repaint] = &report.flows[..] else { panic!("there are two") };
    assert_eq!((serial.each(), serial.rate().round()), (90.0, 8_333_333.0));
    assert_eq!((repaint.characters, repaint.instructions), (2000, 6100));
}

#[test]
fn what_means_nothing_is_refused() {
    let said = |from: &str, to: &str| format!("{:#}", read(&LOG.replace(from, to)).expect_err("it is refused"));
    assert!(said("2 1002 2003", "2 1003 2003").contains("not one instruction"));
    assert!(said("2 1002 2003", "2 1002 2004").contains("not one instruction"));
    assert!(said("2 1002 2003", "1 1002 2003").contains("not one instruction"));
    assert!(said("2 1002 2003", "").contains("not one instruction"));
    assert!(said("[bench] calibration", "[serial] calibration").contains("no calibration"));
    assert!(said("[bench] done", "").contains("end"));
    assert!(said("300 310 900", "300 many 900").contains("cannot be read"));
    assert!(said("90000 120000", "90000").contains("cannot be read"));
    assert!(said("queued_16", "quoted_16").contains("quoted_16"));
    assert!(said("[bench] done", "[bench] failed notify_wake no doorbell\n[bench] done").contains("no doorbell"));
}

#[test]
fn json_comes_back_as_it_was() {
    let report = read(LOG).expect("it is whole");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("figures.json");
    std::fs::write(&file, report.to_json().to_string()).expect("it is written");
    let back = Report::load(&file).expect("it is read");
    // What is not kept of the scale curve: writes to CR3.
    assert_eq!((back.to_json(), &back.figures), (report.to_json(), &report.figures));
    std::fs::write(&file, "{}").expect("it is written");
    assert!(format!("{:#}", Report::load(&file).expect_err("no figures")).contains("holds no figures"));
    assert!(format!("{:#}", Report::load(&dir.path().join("none")).expect_err("none")).contains("--json"));
}

#[test]
fn json_has_the_shape_that_others_read() {
    let value = read(LOG).expect("it is whole").to_json();
    assert_eq!(value["unit"], "instructions");
    let first = &value["results"][0];
    let keys: Vec<_> = first.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["max", "median", "min", "n", "name"]);
    assert_eq!(
        (&value["cr3_writes"]["ipc_cross_4w"], value["results"].as_array().map(Vec::len)),
        (&json!(2.0), Some(2))
    );
    assert_eq!(
        (&value["scale"][0]["name"], &value["throughput"][0]["characters_per_second"], &value["async"][0]["median"]),
        (&json!("queued_16"), &json!(8_333_333.0), &json!(3410))
    );
}

#[test]
fn growth_beyond_the_tolerance_is_told() {
    let old = read(LOG).expect("it is whole");
    let with = |from: &str, to: &str| read(&LOG.replace(from, to)).expect("it is whole");
    assert_eq!(with("310 900", "325 900").grown_since(&old), [""; 0]);
    assert_eq!(with("310 900", "300 900").grown_since(&old), [""; 0]);
    let grown = with("310 900", "326 900").grown_since(&old);
    assert_eq!(grown, ["ipc_cross_4w from 310 to 326, by more than 5%"]);
    assert_eq!(with("510 900", "536 900").grown_since(&old), ["queued_16 from 510 to 536, by more than 5%"]);
    assert_eq!(
        with("3410 5000", "3581 5000").grown_since(&old),
        ["async_pool_call from 3410 to 3581, by more than 5%"]
    );
    let jumping = |median: u64| with("async_pool_call 3400 3410", &format!("async_channel_threads 3400 {median}"));
    assert_eq!(jumping(9000).grown_since(&jumping(3400)), [""; 0]);
    assert_eq!(with("90000 1", "94501 1").grown_since(&old), ["serial_driver from 90000 to 94501, by more than 5%"]);
    let table = with("310 900", "326 900").figures.table(Some(&old.figures));
    assert!(table.contains("225      +16 over\n") && table.contains("60       +0\n"), "{table}");
}

#[test]
fn limits_hold_for_every_compiler_once_they_are_kept() {
    let old = read(LOG).expect("it is whole");
    let other = |from: &str, to: &str| Report {
        compiler: "rustc 1.97.0".to_owned(),
        ..read(&LOG.replace(from, to)).expect("it is whole")
    };
    let slower = other("310 900", "321 900");
    assert_eq!(slower.grown_since(&old), [""; 0]);
    assert_eq!(slower.over_since(&old), ["ipc_cross_4w is 321, and 320 is the most that is allowed"]);
    assert_eq!(other("310 900", "320 900").over_since(&old), [""; 0]);
    // What was over before may stay so.
    assert_eq!(slower.over_since(&slower), [""; 0]);
}

#[test]
fn what_is_gone_or_different_is_told() {
    let old = read(LOG).expect("it is whole");
    let less = read(&LOG.replace("[flow] flow serial_driver 1000 90000 120000", "")).expect("it is whole");
    assert_eq!(less.gone_since(&old), ["serial_driver was not measured"]);
    assert_eq!((old.gone_since(&less), old.differs_from(&old)), (Vec::new(), Vec::new()));
    let later = read(&LOG.replace("300 310 900", "300 310 901")).expect("it is whole");
    let told = later.differs_from(&old);
    assert!(told.len() == 1 && told[0].contains("ipc_cross_4w") && told[0].contains("901"), "{told:?}");
}
