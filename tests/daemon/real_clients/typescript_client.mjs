// Runs programs through the shim as a user of a TypeScript SDK would, and prints one line of JSON: what came of them.
// Leaves out what would be right: the test that started it knows. Arguments: the shim, programs as a JSON object, the SDK (`sdk` or
// `client`), and how it negotiates (`default` or `auto`).

import { readdirSync, readFileSync } from "node:fs";

const TOOL = "execute_python_code";
const PATIENCE = 30;
const [shim, programs, sdk, mode] = process.argv.slice(2);
// Beyond what the SDKs pass to every server.
const { XDG_RUNTIME_DIR, XDG_STATE_HOME } = process.env;
const env = { XDG_RUNTIME_DIR, XDG_STATE_HOME };

const [{ Client }, { StdioClientTransport }] =
  sdk === "client"
    ? await Promise.all([import("@modelcontextprotocol/client"), import("@modelcontextprotocol/client/stdio")])
    : await Promise.all([
        import("@modelcontextprotocol/sdk/client/index.js"),
        import("@modelcontextprotocol/sdk/client/stdio.js"),
      ]);

const report = { results: {} };
const transport = new StdioClientTransport({ command: shim, env });
// The older SDK tells its transport, and nobody else, what was negotiated.
transport.setProtocolVersion = (version) => {
  report.protocol_version = version;
};
const options = mode === "auto" ? { versionNegotiation: { mode: "auto" } } : {};
const client = new Client({ name: "typescript-client", version: "1.0.0" }, options);
// It would go on in silence.
client.onerror = console.error;
const call = (args, options) => {
  const parameters = { name: TOOL, arguments: args };
  return sdk === "client" ? client.callTool(parameters, options) : client.callTool(parameters, undefined, options);
};
const run = (program) => call({ source_code: program });

await client.connect(transport);
try {
  report.protocol_version = client.getNegotiatedProtocolVersion?.() ?? report.protocol_version;
  report.tools = (await client.listTools()).tools.map((tool) => tool.name);
  for (const [name, program] of Object.entries(JSON.parse(programs))) {
    report.results[name] = await run(program);
  }
  const { uri } = report.results.file.content.find((item) => item.type === "resource_link");
  report.read = (await client.readResource({ uri })).contents[0].text;
  report.together = await Promise.all([run("print('one')"), run("print('two')")]);
  report.missing_argument = await refusal({});
  report.seconds_to_cancel = await cancel();
  report.afterwards = await run("print('afterwards')");
} finally {
  const closing = performance.now();
  await client.close();
  report.seconds_to_close = (performance.now() - closing) / 1000;
}
console.log(JSON.stringify(report));

async function refusal(args) {
  try {
    await call(args);
  } catch (error) {
    if (typeof error.code === "number") return { code: error.code, message: error.message };
    throw error;
  }
  return null;
}

// Gives up a call whose program runs; how long the program outlasted that, in seconds.
async function cancel() {
  const name = `busy-${process.pid}`;
  const busy = new AbortController();
  const program = `import ctypes\nctypes.CDLL(None).prctl(15, b'${name}')\nwhile True: pass`;
  const called = call({ source_code: program }, { signal: busy.signal }).catch(() => {});
  await until(true, name);
  busy.abort();
  await called;
  return await until(false, name);
}

async function until(what, name) {
  const started = performance.now();
  while (isRunning(name) !== what) {
    if (performance.now() - started > 1000 * PATIENCE) throw new Error(`${name}: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return (performance.now() - started) / 1000;
}

function isRunning(name) {
  return readdirSync("/proc").some((process) => {
    try {
      return /^\d+$/.test(process) && readFileSync(`/proc/${process}/comm`, "utf8").trim() === name;
    } catch {
      return false;
    }
  });
}
