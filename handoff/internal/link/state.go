package link

// The kinds about state that a program gives to its successor. A generation that
// knows them says so in its Hello (predecessor) or with its READY=1 (successor).
const (
	// KindAsk is the successor's question for named state; the body is an [Ask].
	KindAsk Kind = 20
	// KindState is named state, with a [State] and one descriptor if there is any:
	// the answer to KindAsk, or the predecessor's last word. The successor's answer
	// to a last word, and its refusal of what it has asked for, has the same
	// kind and is a [Verdict].
	KindState Kind = 21
	// KindMove hands over a connection with its state: one descriptor, a second
	// one if the state is large, and a [Move].
	KindMove Kind = 22
	// KindMoved answers it; the body is a [Moved].
	KindMoved Kind = 23
	// KindSettled says that no more KindMove comes for a listener; the body is a
	// [Settled].
	KindSettled Kind = 24
)

// Ask asks for the state of a name.
type Ask struct {
	ID   uint64 `json:"id"`
	Name string `json:"name"`
}

// State is named state, whose bytes are in the file that comes with it.
type State struct {
	ID      uint64 `json:"id"` // of the Ask, or of the last word
	Name    string `json:"name"`
	Version int    `json:"version"`
	Size    int64  `json:"size"`
	Last    bool   `json:"last,omitempty"`  // nobody has asked for it
	None    bool   `json:"none,omitempty"`  // there is none of this name
	Fault   string `json:"fault,omitempty"` // why it could not be written
}

// Verdict is what the successor thinks of state: an empty Fault takes it.
type Verdict struct {
	ID    uint64 `json:"id,omitempty"` // of the last word; 0: of what was asked for
	Name  string `json:"name"`
	Fault string `json:"fault,omitempty"`
}

// Move is a connection and what its owner knows of it.
type Move struct {
	ID      uint64 `json:"id"`
	Name    string `json:"name"` // of the listener, as in [Connections]
	Address string `json:"address"`
	State   []byte `json:"state,omitempty"`
	Size    int64  `json:"size,omitempty"` // of the state, if it is in a file
}

// Moved says whether a connection was taken. If not, it is its sender's again.
type Moved struct {
	ID    uint64 `json:"id"`
	Taken bool   `json:"taken"`
	// Again: not taken because the link goes to the next generation at this moment,
	// which is to be sent it.
	Again bool `json:"again,omitempty"`
}

// Settled names a listener.
type Settled struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}
