//! Loads a model and runs it once.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: small MODEL.flgc")?;
    let model = flgc::Model::open(path)?;
    let plan = flgc::Plan::new(&model, &flgc::Options::default())?;
    let mut session = plan.session();
    let pixels = vec![0.5; plan.inputs()[0].shape.iter().product()];
    println!("{:?}", session.run(&pixels)?);
    Ok(())
}
