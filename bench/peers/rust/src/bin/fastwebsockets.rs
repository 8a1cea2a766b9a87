//! An echo server on fastwebsockets, upgraded by hyper as its documentation has it.

use std::convert::Infallible;

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

type Body = http_body_util::Empty<hyper::body::Bytes>;

fn main() -> std::io::Result<()> {
    peers::serve(|stream: TcpStream| async {
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .with_upgrades();
        // A client that leaves is no reason to end.
        let _ = served.await;
    })
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let Ok((response, upgraded)) = upgrade(&mut request) else {
        let mut refusal = Response::new(Body::new());
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refusal);
    };
    // Its own task is not asked to yield: that is how its authors measure it.
    tokio::task::spawn_local(tokio::task::unconstrained(echo(upgraded)));
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
