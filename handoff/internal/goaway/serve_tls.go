package goaway

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
)

// OfferTLS prepares a server that doesn't run yet for ServeTLS: srv.TLSConfig becomes one
// that offers HTTP/2, if the server does.
func (s *Set) OfferTLS(srv *http.Server) {
	if !s.offers(srv) {
		return
	}
	config := &tls.Config{}
	if srv.TLSConfig != nil {
		config = srv.TLSConfig.Clone()
	}
	config.NextProtos = nextProtos(config.NextProtos, srv.Protocols == nil || srv.Protocols.HTTP1())
	srv.TLSConfig = config
}

func (s *Set) offers(srv *http.Server) bool {
	return s.atAccept && (srv.Protocols == nil || srv.Protocols.HTTP2())
}

// nextProtos returns what is offered as by http.Server.ServeTLS: what is there, in its
// order, with the server's protocols.
func nextProtos(offered []string, http1 bool) []string {
	offered = slices.DeleteFunc(slices.Clone(offered), func(p string) bool { return p == "http/1.1" && !http1 })
	for _, p := range []string{"h2", "http/1.1"} {
		if (p == "h2" || http1) && !slices.Contains(offered, p) {
			offered = append(offered, p)
		}
	}
	return offered
}

// ServeTLS is srv.ServeTLS with what it accepts wrapped. OfferTLS was called before.
func (s *Set) ServeTLS(srv *http.Server, ln net.Listener, certFile, keyFile string) error {
	if !s.offers(srv) || !s.AtAccept() {
		return srv.ServeTLS(ln, certFile, keyFile)
	}
	config := srv.TLSConfig.Clone()
	has := len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil
	if !has || certFile != "" || keyFile != "" {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return srv.Serve(&Listener{tls.NewListener(ln, config), s})
}
