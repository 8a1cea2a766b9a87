//! What both echo servers share: where they listen, and when they end.

use std::io::{Read, Write};

use tokio::net::{TcpListener, TcpStream};

/// Serves each client by a task of its own, on one thread, as there is one core for the server.
/// Prints the port it chose, and ends with its standard input.
pub fn serve<F>(client: impl Fn(TcpStream) -> F) -> std::io::Result<()>
where
    F: Future<Output = ()> + 'static,
{
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(client(stream));
        }
    })
}
