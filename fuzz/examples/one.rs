//! Runs one input: `cargo run -p kubewire-fuzz --example one -- TARGET FILE`

use kubewire_fuzz::TARGETS;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(target), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: one TARGET FILE".into());
    };
    let known = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, run) = known.ok_or("there is no such target")?;
    run(&std::fs::read(file)?);
    Ok(())
}
