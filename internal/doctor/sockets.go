package doctor

import (
	"fmt"
	"strings"
)

func checkSocketUnits(r *report) {
	for _, s := range r.Sockets {
		id := s.Get("Id")
		if s.Get("Accept") == "yes" {
			r.add(Error, "socket-accept",
				"With Accept=yes in "+id+" systemd accepts and starts a process for each connection: there is no listener to hand on.",
				"Set Accept=no in "+id+", and name the service "+strings.TrimSuffix(id, ".socket")+".service, without an @.")
			continue
		}
		if r.get("ActiveState") == "active" && s.Get("ActiveState") != "active" {
			r.add(Warning, "socket-inactive",
				id+" is not active while the service is, so the program has opened this socket itself, or has none.",
				"Stop the service, start "+id+", then start the service; Sockets="+id+" in the service does so at each start.")
		}
	}
}

// checkSocketNames is about what the program tells its sockets apart by: the name
// and the type, and only then the address.
func checkSocketNames(r *report) {
	type key struct{ name, kind string }
	seen := map[key]int{}
	total := 0
	var order []key
	for _, s := range r.Sockets {
		for _, l := range s["Listen"] {
			if l == "" {
				continue
			}
			total++
			_, kind, _ := strings.Cut(l[strings.LastIndex(l, " ")+1:], "(")
			k := key{s.Get("FileDescriptorName"), strings.TrimSuffix(kind, ")")}
			if seen[k]++; seen[k] == 2 {
				order = append(order, k)
			}
		}
	}
	for _, k := range order {
		r.add(Warning, "socket-names-shared",
			fmt.Sprintf("%d sockets of one type (%s) have the name %q, so the program has to tell them apart by their addresses.", seen[k], k.kind, k.name),
			"Make a .socket unit for each, with a FileDescriptorName= of its own: all sockets of a unit share one name.")
	}
	if total < 2 {
		return
	}
	for _, s := range r.Sockets {
		if id := s.Get("Id"); s.Get("FileDescriptorName") == id {
			r.add(Warning, "socket-name-default",
				"Without FileDescriptorName= the sockets of "+id+" have the unit's name, and a program that looks for them by its own finds them by address only; the order of units changes from start to start.",
				"Set FileDescriptorName= in "+id+" to the name that the program looks for.")
		}
	}
}
