//! Redirections.

use super::super::files::resolve;
use super::super::process::{Input, Output, Streams};
use super::Shell;
use super::parse::{Operator, Redirect};

impl Shell {
    /// The streams with redirections; `None` if one failed.
    pub(super) async fn redirect(
        &mut self,
        redirects: &[Redirect],
        streams: &Streams,
    ) -> Option<Streams> {
        let mut streams = streams.clone();
        let files = self.process.container.files.clone();
        for redirect in redirects {
            let target = self.expand_one(&redirect.target, &streams).await;
            let path = resolve(&self.process.cwd, &target);
            let opened: Result<(), String> = match redirect.operator {
                Operator::Text => {
                    streams.stdin = Input::content(target.clone().into_bytes());
                    Ok(())
                }
                Operator::Duplicate => match (redirect.descriptor, target.as_str()) {
                    (2, "1") => {
                        streams.stderr = streams.stdout.clone();
                        Ok(())
                    }
                    (1, "2") => {
                        streams.stdout = streams.stderr.clone();
                        Ok(())
                    }
                    (1, "1") | (2, "2") => Ok(()),
                    (_, other) => Err(format!("bad file descriptor {other}")),
                },
                Operator::Read => match path.as_str() {
                    "/dev/null" => {
                        let _: () = streams.stdin = Input::Empty;
                        Ok(())
                    }
                    "/dev/zero" => {
                        let _: () = streams.stdin = Input::Zero;
                        Ok(())
                    }
                    "/dev/stdin" => Ok(()),
                    _ => match files.read(&path) {
                        Ok(content) => {
                            let _: () = streams.stdin = Input::content(content);
                            Ok(())
                        }
                        Err(why) => Err(format!("can't open {target}: {}", why.to_lowercase())),
                    },
                },
                Operator::Write | Operator::Append => {
                    let output = match path.as_str() {
                        "/dev/null" => Ok(Output::Null),
                        "/dev/stdout" => Ok(streams.stdout.clone()),
                        "/dev/stderr" => Ok(streams.stderr.clone()),
                        _ => {
                            let ready = if redirect.operator == Operator::Write {
                                files.write(&path, Vec::new(), 0o644)
                            } else {
                                files.append(&path, b"")
                            };
                            ready.map(|()| Output::File(files.clone(), path.clone()))
                        }
                    };
                    match output {
                        Ok(output) if redirect.descriptor == 2 => {
                            let _: () = streams.stderr = output;
                            Ok(())
                        }
                        Ok(output) => {
                            let _: () = streams.stdout = output;
                            Ok(())
                        }
                        Err(why) => Err(format!("can't create {target}: {}", why.to_lowercase())),
                    }
                }
            };
            if let Err(why) = opened {
                let _ = streams.stderr.text(format!("sh: {why}\n")).await;
                self.status = 1;
                return None;
            }
        }
        Some(streams)
    }
}
