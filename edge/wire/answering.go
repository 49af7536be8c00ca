package wire

import "strconv"

// Answering says that the final answer is about to be written, and whether the
// connection goes on after it.
func (c *Conn) Answering(goesOn bool) {
	c.setAnswering(true)
	if c.last.Store(!goesOn); goesOn && !c.kept.Swap(true) {
		c.raw.door.promised.Add(1)
	} else if !goesOn {
		c.letGo()
	}
}

// letGo takes back that a client counts on the connection.
func (c *Conn) letGo() {
	if c.kept.Swap(false) {
		c.raw.door.promised.Add(-1)
	}
}

func (c *Conn) setAnswering(on bool) {
	c.interim.Lock()
	c.answering = on
	c.interim.Unlock()
}

// Inform sends an interim answer (RFC 9110 §15.2): a status and whole field
// lines. Once the final answer has begun, and to a client of HTTP/1.0, it sends
// nothing.
func (c *Conn) Inform(status int, lines []byte) error {
	if c.msg.head.Minor == 0 {
		return nil
	}
	head := append([]byte("HTTP/1.1 "), strconv.Itoa(status)...)
	head = append(append(append(head, " \r\n"...), lines...), "\r\n"...)
	return c.inform(head)
}

func (c *Conn) inform(head []byte) error {
	c.interim.Lock()
	defer c.interim.Unlock()
	if c.answering {
		return nil
	}
	_, err := c.Conn.Write(head)
	return err
}
