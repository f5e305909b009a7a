// Command controlplane is a whole Kubernetes control plane in one binary.
//
// It acts as the program whose name it is called by (through a link) or that its first argument names:
// etcd, kube-apiserver, kube-controller-manager or kubectl. One binary instead of four, because they share
// nearly all of their code: it is compiled and linked only once.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// programs gives for each name what to run; it reads os.Args and returns the exit code.
var programs = map[string]func() int{
	"etcd":                    runEtcd,
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) },
	"kubectl":                 runKubectl,
}

func main() {
	if run, known := programs[filepath.Base(os.Args[0])]; known {
		os.Exit(run())
	}
	if len(os.Args) > 1 {
		if run, known := programs[os.Args[1]]; known {
			os.Args = os.Args[1:]
			os.Exit(run())
		}
	}
	fmt.Fprintln(os.Stderr, "usage: controlplane etcd|kube-apiserver|kube-controller-manager|kubectl ARGUMENTS")
	os.Exit(2)
}

// runKubectl prints errors the way kubectl does, which differs from the other programs.
func runKubectl() int {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints and exits
	}
	return 0
}

// runEtcd runs a cluster of one member. etcd's own main package cannot be imported, and the testbed
// needs only these few of its options.
func runEtcd() int {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	dataDir := flags.String("data-dir", "", "folder of the database")
	clientURL := flags.String("listen-client-urls", "http://127.0.0.1:2379", "URL for clients")
	peerURL := flags.String("listen-peer-urls", "http://127.0.0.1:2380", "URL for other members")
	noFsync := flags.Bool("unsafe-no-fsync", false, "never wait for the disk: quick, and the data may be lost")
	_ = flags.Parse(os.Args[1:]) // ExitOnError: it does not return an error

	config := embed.NewConfig()
	config.Dir = *dataDir
	config.LogLevel = "warn"
	config.UnsafeNoFsync = *noFsync
	config.WarningUnaryRequestDuration = 300 * time.Millisecond // a busy laptop is no news
	for _, listen := range []struct {
		raw              string
		here, advertised *[]url.URL
	}{
		{*clientURL, &config.ListenClientUrls, &config.AdvertiseClientUrls},
		{*peerURL, &config.ListenPeerUrls, &config.AdvertisePeerUrls},
	} {
		parsed, err := url.Parse(listen.raw)
		if err != nil {
			fmt.Fprintln(os.Stderr, "etcd:", err)
			return 2
		}
		*listen.here, *listen.advertised = []url.URL{*parsed}, []url.URL{*parsed}
	}
	config.InitialCluster = config.InitialClusterFromName(config.Name)

	server, err := embed.StartEtcd(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
	defer server.Close()

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	select {
	case <-ctx.Done():
		return 0
	case err := <-server.Err():
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
}
