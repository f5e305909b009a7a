// Command coredns is CoreDNS with only the plug-ins that a cluster DNS needs.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() {
	// in the order in which they handle a query
	dnsserver.Directives = []string{"bind", "errors", "kubernetes"}
	coremain.Run()
}
