// Command gitops says what GitOps tools make of an object, by the code that they run themselves.
//
// It reads a JSON array of questions and writes a JSON array of answers in their order. The engine of a question is
//
//	argo-cd  the Lua script `script`, in the interpreter and with the libraries that Argo CD gives to a health check
//	flux     the CEL expressions `current`, `inProgress` and `failed`, by Flux's own evaluator of healthCheckExprs
//	kstatus  nothing but the object, by the kstatus library of Flux, Helm and others
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type question struct {
	Engine     string          `json:"engine"`
	Object     json.RawMessage `json:"object"`
	Script     string          `json:"script"`
	Current    string          `json:"current"`
	InProgress string          `json:"inProgress"`
	Failed     string          `json:"failed"`
}

type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Error   string `json:"error,omitempty"`
}

func main() {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(2)
	}
	answers := make([]answer, 0, len(questions))
	for _, one := range questions {
		found, err := ask(one)
		if err != nil {
			found.Error = err.Error()
		}
		answers = append(answers, found)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(1)
	}
}

func ask(one question) (answer, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(one.Object); err != nil {
		return answer{}, err
	}
	switch one.Engine {
	case "argo-cd":
		return health(one.Script, object)
	case "flux":
		evaluator, err := cel.NewStatusEvaluator(&kustomize.HealthCheckExpressions{
			Current: one.Current, InProgress: one.InProgress, Failed: one.Failed,
		})
		if err != nil {
			return answer{}, err
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		return told(result, err)
	case "kstatus":
		return told(status.Compute(object))
	}
	return answer{}, fmt.Errorf("no engine is called %q", one.Engine)
}

func told(result *status.Result, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return answer{Status: result.Status.String(), Message: result.Message}, nil
}

// health runs a health script for at most a second, as Argo CD does: the object is the global `obj`, the libraries are
// base, table and package, and what is returned is a table with a status and a message.
func health(script string, object *unstructured.Unstructured) (answer, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		library := lua.P{Fn: state.NewFunction(open), Protect: true}
		if err := state.CallByParam(library, lua.LString(name)); err != nil {
			return answer{}, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", value(state, object.Object))
	if err := state.DoString(script); err != nil {
		return answer{}, err
	}
	table, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return answer{}, fmt.Errorf("the script returned a %s, not a table", state.Get(-1).Type())
	}
	found := answer{}
	for key, into := range map[string]*string{"status": &found.Status, "message": &found.Message} {
		switch text := table.RawGetString(key).(type) {
		case lua.LString:
			*into = string(text)
		case *lua.LNilType:
		default:
			return answer{}, fmt.Errorf("the script's %s is a %s, not a string", key, text.Type())
		}
	}
	switch found.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return found, nil
	}
	return found, fmt.Errorf("%q is none of Argo CD's health statuses", found.Status)
}

// value makes a Lua value of one that came out of JSON.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case string:
		return lua.LString(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	case []any:
		list := state.CreateTable(len(from), 0)
		for _, item := range from {
			list.Append(value(state, item))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(from))
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}
