//! As `worker`, but counts allocations, which takes time of its own.

fn main() {
    let job = std::env::args().nth(1).expect("a job");
    let job = serde_json::from_str(&job).expect("a job");
    let figures = kubewire_peer::work::measure(&job, |work| {
        let info = allocation_counter::measure(work);
        (info.count_total, info.bytes_max)
    });
    println!("{}", serde_json::json!(figures));
}
