package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// watchStatus shows the status live until the user has seen enough.
func watchStatus(ctx context.Context, client *controlClient, in io.Reader, out io.Writer) error {
	m := watchModel{ctx: ctx, client: client}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(bare(out)), tea.WithoutCatchPanics()).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil // a signal
	}
	return err
}

// watchModel is what is shown.
type watchModel struct {
	ctx    context.Context
	client *controlClient

	width, height int
	status        handoff.ServiceStatus
	known         bool
	at            time.Time // of status
	rate          float64   // requests a second; less than 0: unknown
	err           error
}

// seenMsg is an answer of the service.
type seenMsg struct {
	status handoff.ServiceStatus
	err    error
	at     time.Time
}

// lookMsg says that it is time to ask.
type lookMsg struct{}

func (m watchModel) look() tea.Msg {
	s, err := m.client.status(m.ctx)
	return seenMsg{s, err, time.Now()}
}

// Init is of [tea.Model].
func (m watchModel) Init() tea.Cmd { return m.look }

// Update is of [tea.Model].
func (m watchModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		return m, tea.ClearScreen
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return m, tea.Quit
		}
	case lookMsg:
		return m, m.look
	case seenMsg:
		m.take(msg)
		return m, tea.Tick(refresh, func(time.Time) tea.Msg { return lookMsg{} })
	}
	return m, nil
}

// take notes an answer, and how many requests there were since the last.
func (m *watchModel) take(s seenMsg) {
	m.err = s.err
	if s.err != nil {
		return
	}
	m.rate = -1
	if past := s.at.Sub(m.at).Seconds(); m.known && past > 0 && s.status.PID == m.status.PID && s.status.Requests >= m.status.Requests {
		m.rate = float64(s.status.Requests-m.status.Requests) / past
	}
	m.status, m.at, m.known = s.status, s.at, true
}

// View is of [tea.Model].
func (m watchModel) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	v.WindowTitle = "handoff status"
	return v
}

// lines fits what there is to see into the window.
func (m watchModel) lines() []string {
	if m.height == 0 {
		return nil // its size is not known yet
	}
	var lines []string
	switch {
	case m.known:
		lines = m.statusLines()
	case m.err == nil:
		lines = []string{"asking " + terminal.Line(m.client.path)}
	}
	foot := "q: quit"
	if m.err != nil {
		foot = "no answer: " + strings.Join(strings.Fields(terminal.Line(m.err.Error())), " ") + "; q: quit"
	}
	room := m.height - 1
	if len(lines) > room {
		lines = lines[:max(room, 0)]
	}
	for len(lines) < room {
		lines = append(lines, "")
	}
	lines = append(lines, foot)
	for i, l := range lines {
		lines[i] = cut(l, m.width)
	}
	return lines
}

func (m watchModel) statusLines() []string {
	rate := "?"
	if m.rate >= 0 {
		rate = fmt.Sprintf("%.0f", m.rate)
	}
	lines := statusLines(m.status, m.at, 20)
	return slices.Insert(lines, min(2, len(lines)),
		fmt.Sprintf("requests     %6s a second, %d in all", rate, m.status.Requests),
		fmt.Sprintf("connections  %6d here, %d in older generations", m.status.Connections, olderConnections(m.status)))
}

func olderConnections(s handoff.ServiceStatus) (n int) {
	for _, d := range s.Draining {
		n += d.Connections
	}
	return n
}

// cut shortens a line to the width of the window.
func cut(line string, width int) string {
	r := []rune(line)
	if len(r) <= width {
		return line
	}
	if width < 1 {
		return ""
	}
	return string(r[:width-1]) + "…"
}
