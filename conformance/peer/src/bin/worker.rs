//! Does one job, which the only argument says in JSON, and prints what it took.

fn main() {
    let job = std::env::args().nth(1).expect("a job");
    let job = serde_json::from_str(&job).expect("a job");
    let figures = kubewire_peer::work::measure(&job, |work| {
        work();
        (0, 0)
    });
    println!("{}", serde_json::json!(figures));
}
