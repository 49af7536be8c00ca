package health

import "time"

// A Finding is what checks have found wrong.
type Finding struct {
	URL    string    `json:"url"`
	Vhost  string    `json:"vhost"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Told is when it was told last. Whoever checks the target tells it anew before it is findingLife old.
	Told time.Time `json:"told,omitzero"`
}

// findingLife is how old a finding becomes that nobody tells anew: its target is gone everywhere, and who checked it could not say so.
const findingLife = time.Hour

func (f Finding) told() Finding {
	f.Told = time.Now().UTC().Truncate(time.Second)
	return f
}

// Findings returns what is down, by place, as far as this node knows, to be told now.
func (p *Prober) Findings() map[string]Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]Finding{}
	for _, e := range p.places {
		if e.finding != nil {
			out[e.place.String()] = e.finding.told()
		}
	}
	return out
}

// Learn takes over what others have found, by place. Where this node leads, its own word counts: what is told otherwise, or has been for
// long, is told anew, and what nobody has told anew is taken out.
func (p *Prober) Learn(down map[string]Finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.theirs = down
	if !p.leading {
		for _, e := range p.targets {
			p.adopt(e)
		}
		return
	}
	for id, f := range down {
		if time.Since(f.Told) > findingLife {
			p.pending[id] = nil
		}
	}
	for _, e := range p.places {
		place := e.place.String()
		f, told := down[place]
		if told != (e.finding != nil) || told && time.Since(f.Told) > findingLife/2 {
			p.pending[place] = e.finding
		}
	}
}

// adopt makes what others have found the finding of a target.
func (p *Prober) adopt(e *probed) {
	f, down := p.theirs[e.place.String()]
	if down == (e.finding != nil) {
		return
	}
	if e.finding = nil; down {
		e.finding = &f
	}
	p.opts.Found(e.Target, e.finding)
}

// Untold returns what others are to be told, by place; nil: that it is up. Told says that they were.
func (p *Prober) Untold() map[string]*Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.pending
	p.pending = map[string]*Finding{}
	for id, f := range out {
		if f != nil {
			told := f.told()
			out[id] = &told
		}
	}
	return out
}

// Tell puts back what could not be told.
func (p *Prober) Tell(untold map[string]*Finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, f := range untold {
		if _, newer := p.pending[id]; !newer {
			p.pending[id] = f
		}
	}
}
