// Command coredns is CoreDNS with the plugins a cluster's own names need and no others.
//
// It is a program of its own, not a component of node: CoreDNS registers global flags when it is imported, which the
// Kubernetes commands would inherit. Nothing here forwards queries: a name outside of the cluster has no answer.
package main

import (
	_ "github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	coremain.Run()
}
