//! The MCP face of one session: discovery, both lifecycles, the list of tools and calls of them. It answers everything but
//! a call at once, whether Python is there or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, DiscoverResult, Implementation,
    InitializeRequestParams, InitializeResult, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field};

use crate::interpreter_api::InterpreterApi;
use crate::tools::execute_python_code;

const NAME: &str = "python-interpreter";
const TITLE: &str = "Python Interpreter";
const DESCRIPTION: &str = "Runs Python code in isolation and returns its output and files";
const INSTRUCTIONS: &str = "Use the tool execute_python_code to run Python code: to calculate, to work on data and text, \
    or to check code. Each call runs in a fresh, isolated environment, so put everything that a program needs into one \
    call and print what you want to see.";
/// How long a client may keep the list of tools. It changes with a new version of this program only.
const CACHE_MILLISECONDS: u64 = 5 * 60 * 1000;
/// How much of a client's name goes into the log.
const MAX_NAME_CHARACTERS: usize = 64;

#[derive(Clone)]
pub struct Server {
    interpreter: Arc<InterpreterApi>,
    executions: Arc<AtomicU64>,
    tool: Tool,
    client_is_named: Arc<AtomicBool>,
    session: Span,
}

impl Server {
    pub fn new(interpreter: InterpreterApi) -> Self {
        Self {
            interpreter: Arc::new(interpreter),
            executions: Arc::default(),
            tool: execute_python_code::definition(),
            client_is_named: Arc::default(),
            session: Span::none(),
        }
    }

    /// The server as one session has it. `session` is the span that gets the client's name.
    pub fn for_session(&self, session: Span) -> Self {
        Self { client_is_named: Arc::default(), session, ..self.clone() }
    }

    fn note_client(&self, client: Option<Implementation>) {
        let Some(client) = client else { return };
        if !self.client_is_named.swap(true, Ordering::Relaxed) {
            let bounded = |text: &str| text.chars().take(MAX_NAME_CHARACTERS).collect::<String>();
            self.session.record("client", bounded(&client.name).as_str());
            self.session.record("version", bounded(&client.version).as_str());
            tracing::debug!(parent: &self.session, "client named itself");
        }
    }

    async fn execute(
        &self,
        call: CallToolRequestParams,
        cancelled: &CancellationToken,
    ) -> Result<CallToolResult, ErrorData> {
        let request = execute_python_code::request(call.arguments)?;
        let number = self.executions.fetch_add(1, Ordering::Relaxed) + 1;
        let id = format!("{:x}-{number}", std::process::id());
        let span = tracing::info_span!(parent: &self.session, "execution", execution_id = id);
        let interpreter = self.interpreter.clone();
        let run = async move {
            let started = Instant::now();
            let source_bytes = request.source_code.len();
            tracing::debug!(source_bytes, "execution begins");
            let execution = interpreter.execute(request).await;
            tracing::info!(
                outcome = field::debug(execution.outcome),
                exit_code = execution.response.exit_code,
                milliseconds = started.elapsed().as_millis(),
                source_bytes,
                stdout_bytes = execution.response.stdout.len(),
                stderr_bytes = execution.response.stderr.len(),
                files = execution.response.files.len(),
                interpreter = execution.interpreter,
                "execution ended"
            );
            execution
        };
        // A task of its own: should the run panic, the client still gets an answer. Dropping the set ends the run, because it
        // closes the connection to the interpreter.
        let mut task = JoinSet::new();
        task.spawn(run.instrument(span.clone()));
        match cancelled.run_until_cancelled(task.join_next()).await {
            Some(Some(Ok(execution))) => shown(execution).await,
            Some(_) => Err(internal("The execution failed inside the daemon; its log says more.")),
            None => {
                tracing::info!(parent: &span, "execution cancelled");
                Err(internal("The call was cancelled."))
            }
        }
    }
}

/// Makes the result; a large one off the event loop, because its JSON is written twice.
async fn shown(execution: crate::interpreter_api::Execution) -> Result<CallToolResult, ErrorData> {
    const LARGE_BYTES: usize = 256 * 1024;
    if execution.response.stdout.len() + execution.response.stderr.len() < LARGE_BYTES {
        return Ok(execute_python_code::result(execution));
    }
    let made = tokio::task::spawn_blocking(move || execute_python_code::result(execution)).await;
    made.map_err(|_| internal("The result could not be shown; the daemon's log says more."))
}

fn internal(message: &'static str) -> ErrorData {
    ErrorData::internal_error(message, None)
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let implementation =
            Implementation::new(NAME, env!("CARGO_PKG_VERSION")).with_title(TITLE).with_description(DESCRIPTION);
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(implementation)
            .with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        self.note_client(Some(request.client_info.clone()));
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        self.note_client(context.client_info());
        let versions = self.supported_protocol_versions().into_owned();
        let mut result = DiscoverResult::from_server_info(versions, self.get_info());
        result.ttl_ms = CACHE_MILLISECONDS;
        result.cache_scope = CacheScope::Private;
        Ok(result)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.note_client(context.client_info());
        if request.is_some_and(|request| request.cursor.is_some()) {
            return Err(ErrorData::invalid_params(
                "The list of tools has one page, and no cursor leads to another.",
                None,
            ));
        }
        let tools = ListToolsResult::with_all_items(vec![self.tool.clone()]);
        Ok(tools.with_ttl_ms(CACHE_MILLISECONDS).with_cache_scope(CacheScope::Private))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == execute_python_code::NAME).then(|| self.tool.clone())
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.note_client(context.client_info());
        if call.name != execute_python_code::NAME {
            let message = format!("There is no tool of this name; there is {}.", execute_python_code::NAME);
            return Err(ErrorData::invalid_params(message, None));
        }
        self.execute(call, &context.ct).await.map(CallToolResponse::from)
    }
}
