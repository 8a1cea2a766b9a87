// An echo and a broadcast on gorilla/websocket.
//
// /echo sends back what comes. Whoever is connected to /sub or /direct receives what is posted to
// /publish as {"data": ...}: on /sub by a goroutine of its own behind a queue, so that one who does
// not read delays nobody, on /direct by the publisher, one connection after the other, which costs
// less and lets each delay all. Prints its port, and ends with its standard input.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/gorilla/websocket"
)

// Publications that may wait for one subscriber; with more it is closed.
const queueLen = 256

type hub struct {
	sync.Mutex
	queued map[*websocket.Conn]chan *websocket.PreparedMessage
	direct map[*websocket.Conn]struct{}
}

var (
	upgrader websocket.Upgrader
	members  = hub{
		queued: map[*websocket.Conn]chan *websocket.PreparedMessage{},
		direct: map[*websocket.Conn]struct{}{},
	}
)

// Upgrades, and hands the connection to serve until that returns.
func upgraded(serve func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn)
	}
}

func echo(conn *websocket.Conn) {
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// Reads, so that pings and Close are answered, until the connection ends.
func discard(conn *websocket.Conn) {
	for {
		if _, _, err := conn.NextReader(); err != nil {
			return
		}
	}
}

func subscribe(conn *websocket.Conn) {
	queue := make(chan *websocket.PreparedMessage, queueLen)
	members.Lock()
	members.queued[conn] = queue
	members.Unlock()
	go func() {
		for message := range queue {
			if conn.WritePreparedMessage(message) != nil {
				conn.Close()
			}
		}
	}()
	discard(conn)
	members.Lock()
	delete(members.queued, conn)
	close(queue)
	members.Unlock()
}

func subscribeDirect(conn *websocket.Conn) {
	members.Lock()
	members.direct[conn] = struct{}{}
	members.Unlock()
	discard(conn)
	members.Lock()
	delete(members.direct, conn)
	members.Unlock()
}

func (h *hub) broadcast(message *websocket.PreparedMessage) {
	h.Lock()
	defer h.Unlock()
	for conn, queue := range h.queued {
		select {
		case queue <- message:
		default:
			conn.Close()
		}
	}
	for conn := range h.direct {
		if conn.WritePreparedMessage(message) != nil {
			conn.Close()
		}
	}
}

func publish(w http.ResponseWriter, r *http.Request) {
	var body struct{ Data json.RawMessage }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, body.Data)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	members.broadcast(message)
	io.WriteString(w, `{"result":{}}`)
}

func main() {
	http.HandleFunc("/echo", upgraded(echo))
	http.HandleFunc("/sub", upgraded(subscribe))
	http.HandleFunc("/direct", upgraded(subscribeDirect))
	http.HandleFunc("/publish", publish)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, nil))
}
