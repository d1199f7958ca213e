package handoff

// This file is what readopt.go does around the machine, function by function.

// reply is a message over the link k to its parent.
func (s *sim) reply(k place, w word) {
	if !s.readopt {
		return // there it does nothing
	}
	if c := &s.kids[k]; s.effect() && s.alive(c.parent) {
		c.back.push(w)
	}
}

// appointHeir is Upgrader.appointHeir.
func (s *sim) appointHeir(p place) {
	g := &s.gens[p]
	heir := nobody
	if g.m.phase == phaseServing && !g.m.awaiting && s.readopt {
		for k := range place(maxGenerations) { // the links are in the order of the generations
			if (g.elders&^g.leaving)&(1<<k) != 0 {
				heir = k
			}
		}
	}
	if heir == g.heir {
		return
	}
	s.disinherit(p)
	if g.heir = heir; heir != nobody {
		s.reply(heir, wordHeir)
	}
}

// disinherit is Upgrader.disinherit.
func (s *sim) disinherit(p place) {
	if g := &s.gens[p]; g.heir != nobody {
		s.reply(g.heir, wordNotHeir)
		g.heir = nobody
	}
}

// letGo is Upgrader.letGo.
func (s *sim) letGo(p, k place) {
	g := &s.gens[p]
	g.leaving |= 1 << k
	if g.heir == k {
		s.appointHeir(p)
		return
	}
	s.reply(k, wordNotHeir)
}

// answered is what followSuccessor does with a message after the hello.
func (s *sim) answered(p, k place, w word) {
	g, c := &s.gens[p], &s.kids[k]
	switch w {
	case wordHeir, wordNotHeir:
		c.heir = w == wordHeir
		if !c.heir && g.successor == k && g.asks {
			s.handle(p, eventReleased, nil, false)
		}
	case wordHurry:
		if g.m.phase == phaseDraining && g.successor == k {
			s.handle(p, eventReleased, nil, false)
		}
	}
}

// deserted is Upgrader.deserted.
func (s *sim) deserted(p, k place) {
	if s.kids[k].heir || s.rules.ignoresHeir {
		s.handle(p, eventDeserted, nil, false)
		return
	}
	s.handle(p, eventReleased, nil, false)
}

// revive is Upgrader.revive.
func (s *sim) revive(p place) {
	if s.blown {
		return
	}
	g := &s.gens[p]
	s.say("readopts the service")
	s.kids[g.successor].shut = true
	g.handed, g.probed = false, true // it speaks again, and there is no probation
	s.launch(p)
}

// decide is Upgrader.decide.
func (s *sim) decide(p place) {
	g := &s.gens[p]
	if !s.kids[g.successor].heir {
		s.handle(p, eventReleased, nil, false)
		return
	}
	g.asks = true
	s.send(g.successor, wordLeaving)
}
