package load

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"
)

// take acts on a frame. The error ends the connection.
func (c *http2Conn) take(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.PingFrame:
		if f.IsAck() {
			return nil
		}
		return c.control(func() error { return c.out.WritePing(true, f.Data) })
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.PushPromiseFrame:
		return errors.New("the server pushes, which our settings forbid")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed()
	s := c.now
	mine := s != nil && !s.over && f.Header().StreamID == s.id
	switch f := f.(type) {
	case *http2.GoAwayFrame:
		c.away = true
		if s != nil && s.id > f.LastStreamID && s.res == nil {
			s.end(refusedError{fmt.Sprintf("the server said GOAWAY (%v, last stream %d) to stream %d", f.ErrCode, f.LastStreamID, s.id)})
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.room += int64(f.Increment)
		} else if mine {
			s.room += int64(f.Increment)
		}
	case *http2.RSTStreamFrame:
		switch {
		case !mine:
		case f.ErrCode == http2.ErrCodeRefusedStream:
			s.end(refusedError{"the server refused the stream"})
		default:
			s.end(resetError(f.ErrCode))
		}
	case *http2.MetaHeadersFrame:
		if mine {
			return s.header(f)
		}
	}
	return nil
}

func (c *http2Conn) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	table, ok := f.Value(http2.SettingHeaderTableSize)
	c.mu.Lock()
	if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
		if c.now != nil {
			c.now.room += int64(v) - c.window
		}
		c.window = int64(v)
	}
	if v, ok := f.Value(http2.SettingMaxFrameSize); ok {
		c.frame = int(v)
	}
	if v, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
		c.noStream = v == 0
	}
	c.mu.Unlock()
	c.changed()
	return c.control(func() error {
		if ok {
			c.enc.SetMaxDynamicTableSizeLimit(table)
		}
		return c.out.WriteSettingsAck()
	})
}

// takeData takes a piece of a body, and lets the server send as much again.
func (c *http2Conn) takeData(f *http2.DataFrame) error {
	c.mu.Lock()
	var err error
	var toConn, toStream uint32
	c.owed += int64(f.Length)
	if c.owed >= connWindow/2 {
		toConn, c.owed = uint32(c.owed), 0
	}
	if s := c.now; s != nil && !s.over && f.StreamID == s.id {
		s.owed += int64(f.Length)
		err = s.data(f)
		if s.owed >= streamWindow/2 && !s.over {
			toStream, s.owed = uint32(s.owed), 0
		}
	}
	c.mu.Unlock()
	c.changed()
	if err != nil || toConn+toStream == 0 {
		return err
	}
	return c.control(func() error {
		if toConn > 0 {
			err = c.out.WriteWindowUpdate(0, toConn)
		}
		if toStream > 0 && err == nil {
			err = c.out.WriteWindowUpdate(f.StreamID, toStream)
		}
		return err
	})
}

// control writes frames that are no part of a request.
func (c *http2Conn) control(write func() error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.link.SetWriteDeadline(time.Now().Add(c.timeout))
	if err := write(); err != nil {
		return err
	}
	return c.buf.Flush()
}
