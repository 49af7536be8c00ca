package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gatehouse/routes"
)

// configFile is read when -c names no other file and this one is there.
const configFile = "gatehouse.yaml"

// maxSettings bounds gatehouse.yaml and the file of a variable, in bytes.
const maxSettings = 1 << 20

// loadConfig reads the process settings: the file, overridden by the environment
// (GATEHOUSE_LISTEN_HTTPS), overridden by flags (path → text). explicit says that
// the user named the file, which must then be there.
//
// It returns every problem of every source. The Config is nil only if the file
// cannot be read or is not YAML; otherwise what could be read is in it, which is
// enough for a verb that only looks for the socket, and not enough to serve.
//
// Relative paths in the file and in the defaults belong to the file's folder;
// those in the environment and in flags, to the working directory.
func loadConfig(file string, explicit bool, environ []string, flags map[string]string) (*Config, routes.Problems) {
	l := &loader{cfg: defaultConfig(), origin: map[string]string{}}
	if err := l.readFile(file, explicit); err != nil {
		var p *routes.Problem
		if !errors.As(err, &p) {
			p = &routes.Problem{File: file, Reason: err.Error()}
		}
		return nil, withoutSecrets(routes.Problems{p})
	}
	l.readEnviron(environ)
	l.readFlags(flags)
	l.check()
	l.resolvePaths()
	l.checkCRS()
	l.cfg.problem = func(path, reason, guess string) *routes.Problem {
		return withoutSecrets(routes.Problems{l.problem(path, reason, guess)})[0]
	}
	if l.decoder != nil {
		return l.cfg, append(withoutSecrets(l.decoder.Problems()), l.problems...)
	}
	return l.cfg, l.problems
}

// secret finds the lines of a gatehouse.yaml that hold keys or passwords.
var secret = regexp.MustCompile(`hmac|seal_keys|webhook|dns_update|\bkey["']?\s*:|://[^@\s]*@`)

// withoutSecrets takes the excerpts off that would put a secret into a log.
func withoutSecrets(problems routes.Problems) routes.Problems {
	for _, p := range problems {
		if secret.MatchString(p.Excerpt) {
			p.Excerpt = ""
		}
	}
	return problems
}

// loader is the state of one loadConfig.
type loader struct {
	cfg      *Config
	decoder  *routes.Decoder   // of the file; nil: there is none
	origin   map[string]string // path → the variable or flag that set it
	problems routes.Problems   // what is not in the file
}

func (l *loader) readFile(file string, explicit bool) error {
	source, err := routes.ReadFile(file, maxSettings)
	if errors.Is(err, fs.ErrNotExist) && !explicit {
		return nil
	}
	if err != nil {
		return errors.New(unreadable(err))
	}
	if l.decoder, err = routes.NewDecoder(file, source); err != nil {
		return err
	}
	l.cfg.File = file
	l.decoder.Decode(l.cfg)
	return nil
}

// linked are variables that container engines make for a service of the name
// "gatehouse"; they are no settings.
var linked = regexp.MustCompile(`^GATEHOUSE_(NAME|SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?|ENV_\w+)$`)

func (l *loader) readEnviron(environ []string) {
	paths := map[string]string{}
	var names []string
	for _, s := range settings {
		paths[s.env()] = s.path
		names = append(names, s.env())
	}
	environ = slices.Clone(environ)
	slices.Sort(environ)
	for _, pair := range environ {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || linked.MatchString(name) {
			continue
		}
		base, fromFile := strings.CutSuffix(name, "_FILE")
		path, known := paths[base]
		if !known {
			l.add(name, "no setting has this name", guessVariable(name, names))
			continue
		}
		if fromFile {
			content, err := routes.ReadFile(text, maxSettings)
			if err != nil {
				l.add(name, err.Error(), "")
				continue
			}
			text = strings.TrimRight(string(content), "\r\n")
		}
		l.set(path, text, name)
	}
}

func (l *loader) readFlags(flags map[string]string) {
	for _, s := range settings {
		if text, given := flags[s.path]; given {
			delete(l.origin, s.path) // a flag may repeat what the environment says
			l.set(s.path, text, "--"+s.path)
		}
	}
}

func (l *loader) set(path, text, origin string) {
	if other, twice := l.origin[path]; twice {
		l.add(origin, "set by "+other+" too: remove one of them", "")
		return
	}
	if err := l.cfg.assign(path, text); err != nil {
		l.add(origin, err.Error(), "")
		return
	}
	l.origin[path] = origin
}

func (l *loader) add(origin, reason, guess string) {
	l.problems = append(l.problems, &routes.Problem{File: origin, Reason: reason, Guess: guess})
}

// fail reports a bad value where it was given.
func (l *loader) fail(path, reason, guess string) {
	if _, elsewhere := l.origin[path]; !elsewhere && l.decoder != nil {
		l.decoder.Report(path, reason, guess)
		return
	}
	l.problems = append(l.problems, l.problem(path, reason, guess))
}

// problem returns one with a value, at the place where it was given.
func (l *loader) problem(path, reason, guess string) *routes.Problem {
	switch origin, ok := l.origin[path]; {
	case ok:
		return &routes.Problem{File: origin, Reason: reason, Guess: guess}
	case l.decoder != nil:
		return l.decoder.Problem(path, reason, guess)
	}
	return &routes.Problem{Field: path, Reason: reason, Guess: guess}
}

// resolvePaths joins relative paths to the folder of the file that names them.
func (l *loader) resolvePaths() {
	if l.cfg.File == "" {
		return
	}
	folder := filepath.Dir(l.cfg.File)
	join := func(setting string, path *string) {
		if _, elsewhere := l.origin[setting]; !elsewhere && *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
	join("data", &l.cfg.Data)
	join("certificates.acme.trust", &l.cfg.Certificates.ACME.Trust)
	join("certificates.acme.fallback.trust", &l.cfg.Certificates.ACME.Fallback.Trust)
	join("certificates.acme.dns_hook", &l.cfg.Certificates.ACME.DNSHook)
	if l.cfg.WAF.CRS != embeddedCRS {
		join("waf.crs", &l.cfg.WAF.CRS)
	}
	if to := &l.cfg.Log.Access.To; *to != "stdout" && *to != "stderr" {
		join("log.access.to", to)
	}
	if dir, ok := l.cfg.RoutesDir(); ok {
		join("routes", &dir)
		l.cfg.Routes = "file:" + dir
	}
}

// guessVariable compares what follows the prefix, which all variables share.
func guessVariable(name string, names []string) string {
	bare := make([]string, len(names))
	for i, n := range names {
		bare[i] = strings.TrimPrefix(n, envPrefix)
	}
	if guess := routes.Nearest(strings.TrimPrefix(name, envPrefix), bare); guess != "" {
		return envPrefix + guess
	}
	return ""
}
