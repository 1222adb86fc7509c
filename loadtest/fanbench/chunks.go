package main

import "errors"

// chunks undoes HTTP/1.1's chunked transfer coding (RFC 9112, section 7.1), however reads cut it.
type chunks struct {
	left  int
	state chunkState
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	inData
	afterData
	atEnd
)

var errChunk = errors.New("not a chunk")

// next returns the data that comes next in wire, and what follows it. It calls for more where both are empty.
func (c *chunks) next(wire []byte) (data, rest []byte, err error) {
	for i := 0; i < len(wire); i++ {
		switch c.state {
		case inSize, inExtension:
			if err := c.size(wire[i]); err != nil {
				return nil, nil, err
			}
		case inData:
			end := min(len(wire), i+c.left)
			c.left -= end - i
			if c.left == 0 {
				c.state = afterData
			}
			return wire[i:end], wire[end:], nil
		case afterData:
			if wire[i] == '\n' {
				c.state = inSize
			} else if wire[i] != '\r' {
				return nil, nil, errChunk
			}
		case atEnd:
			return nil, nil, nil
		}
	}
	return nil, nil, nil
}

func (c *chunks) size(char byte) error {
	switch {
	case char == '\n':
		c.state = inData
		if c.left == 0 {
			c.state = atEnd
		}
	case c.state == inExtension || char == '\r' || char == ';':
		c.state = inExtension
	case char >= '0' && char <= '9':
		c.left = c.left<<4 | int(char-'0')
	case char|0x20 >= 'a' && char|0x20 <= 'f':
		c.left = c.left<<4 | int(char|0x20-'a'+10)
	default:
		return errChunk
	}
	if c.left > 1<<30 {
		return errChunk
	}
	return nil
}
