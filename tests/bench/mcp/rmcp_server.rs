//! The MCP server that one writes in an afternoon: rmcp with its own line transport, in one process between the client's pipes
//! and the interpreter. It has none of what the daemon adds, such as bounds, a log and a socket that many share.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, JsonObject, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, serve_server};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::net::unix::pipe;

const DEADLINE: Duration = Duration::from_secs(300);

struct Server {
    client: Client,
    url: String,
}

/// Serves its standard input and output until the client leaves.
pub fn run(interpreter: &str) -> Result<()> {
    // As the daemon has it.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let client = Client::builder().no_proxy().http1_only().timeout(DEADLINE).build()?;
        let server = Server { client, url: format!("{interpreter}/v1/execute") };
        let input = pipe::Receiver::from_owned_fd(duplicate(io::stdin().as_fd())?)?;
        let output = pipe::Sender::from_owned_fd(duplicate(io::stdout().as_fd())?)?;
        serve_server(server, (input, output)).await?.waiting().await?;
        Ok(())
    })
}

fn duplicate(descriptor: BorrowedFd) -> io::Result<OwnedFd> {
    descriptor.try_clone_to_owned()
}

impl Server {
    async fn execute(&self, arguments: &JsonObject) -> Result<CallToolResult> {
        let body = serde_json::to_vec(&json!({ "source_code": arguments.get("source_code") }))?;
        let request = self.client.post(&self.url).header(CONTENT_TYPE, "application/json").body(body);
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        Ok(CallToolResult::structured(serde_json::from_slice::<Value>(&answer)?))
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = Tool::new("execute_python_code", "Run Python code", JsonObject::new());
        Ok(ListToolsResult::with_all_items(vec![tool]))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let result = self.execute(&call.arguments.unwrap_or_default()).await;
        result.map(CallToolResponse::from).map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }
}
