// Runs programs through the shim as a user of the TypeScript SDK would, and prints one line of JSON: what came of them.
// Leaves out what would be right: the test that started it knows. Arguments: the shim, and programs as a JSON object.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { McpError } from "@modelcontextprotocol/sdk/types.js";

const TOOL = "execute_python_code";
const [shim, programs] = process.argv.slice(2);
// Beyond what the SDK passes to every server.
const { XDG_RUNTIME_DIR, XDG_STATE_HOME } = process.env;

const report = { results: {} };
const transport = new StdioClientTransport({ command: shim, env: { XDG_RUNTIME_DIR, XDG_STATE_HOME } });
// The SDK tells its transport, and nobody else, what was negotiated.
transport.setProtocolVersion = (version) => {
  report.protocol_version = version;
};
const client = new Client({ name: "typescript-client", version: "1.0.0" });
// It would go on in silence.
client.onerror = console.error;
const run = (program) => client.callTool({ name: TOOL, arguments: { source_code: program } });

await client.connect(transport);
try {
  report.tools = (await client.listTools()).tools.map((tool) => tool.name);
  for (const [name, program] of Object.entries(JSON.parse(programs))) {
    report.results[name] = await run(program);
  }
  report.together = await Promise.all([run("print('one')"), run("print('two')")]);
  report.missing_argument = await refusal({});
} finally {
  const closing = performance.now();
  await client.close();
  report.seconds_to_close = (performance.now() - closing) / 1000;
}
console.log(JSON.stringify(report));

async function refusal(args) {
  try {
    await client.callTool({ name: TOOL, arguments: args });
  } catch (error) {
    if (error instanceof McpError) return { code: error.code, message: error.message };
    throw error;
  }
  return null;
}
