//! The MCP server: one handler for both protocol eras.

mod call;
mod client_context;
mod executions;
mod introspection;
mod output_stream;
mod progress;
mod subscriptions;
mod tool_description;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams, CompleteResult,
    CompletionInfo, DiscoverResult, GetTaskParams, GetTaskResult, Implementation, InitializeRequestParams,
    InitializeResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, MetaObject,
    PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
    Reference, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::interpreter::Interpreters;
use crate::resources;
use crate::tasks::{self, NotCancelled, Tasks};
use crate::tools;
use client_context::ClientContext;
use executions::Executions;
use tool_description::ToolDescriptions;

const NAME: &str = "python-interpreter";
const TITLE: &str = "Python Interpreter";
const DESCRIPTION: &str = "Runs Python code in isolation: calculations, data analysis, plots and file processing, with output, pictures \
    and files returned";
const INSTRUCTIONS: &str = "Use the tool execute_python_code to run Python code: to calculate, to work on data, text and files, to \
    draw plots, or to check code. Each call runs in a fresh, isolated environment, so put everything that a program \
    needs into one call and print what you want to see. Files that it leaves below /workspace can be given to a later call.";
const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";
/// How long a client may cache the list of tools.
const CACHE_MILLISECONDS: u64 = 5 * 60 * 1000;
/// How much of a client's name is logged.
const MAX_NAME_CHARACTERS: usize = 64;
/// The most suggestions of a completion (a rule of MCP).
const MAX_SUGGESTIONS: usize = 100;

#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    client: ClientContext,
}

/// What all clients share.
struct Shared {
    executions: Arc<Executions>,
    descriptions: Arc<ToolDescriptions>,
    tasks: Arc<Tasks>,
    task_after: AtomicU64,
    started_by: &'static str,
    clients: AtomicU64,
}

impl Server {
    /// `state` is the directory that keeps tasks, if there is one; `started_by` is shown by `status`.
    pub fn new(
        interpreters: Interpreters,
        concurrency: usize,
        tasks: &tasks::Settings,
        state: Option<PathBuf>,
        started_by: &'static str,
    ) -> Self {
        let executions = Arc::new(Executions::new(interpreters, concurrency));
        let shared = Shared {
            descriptions: ToolDescriptions::new(executions.clone()),
            executions,
            tasks: Tasks::open(state.map(|state| state.join("tasks"))),
            task_after: AtomicU64::new(tasks.task_after),
            started_by,
            clients: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
            client: ClientContext::new(0, Span::none(), CancellationToken::new(), CancellationToken::new()),
        }
    }

    /// Applies new settings. Running calls keep the old ones.
    pub fn change(&self, interpreters: Interpreters, concurrency: usize, tasks: &tasks::Settings) {
        let Shared { executions, descriptions, task_after, .. } = &*self.shared;
        executions.change(interpreters, concurrency);
        task_after.store(tasks.task_after, Ordering::Relaxed);
        descriptions.renew();
    }

    /// The server for one client. `session` is the client's span.
    pub fn for_client(&self, session: Span, gone: CancellationToken, draining: CancellationToken) -> Self {
        let key = self.shared.clients.fetch_add(1, Ordering::Relaxed) + 1;
        Self { shared: self.shared.clone(), client: ClientContext::new(key, session, gone, draining) }
    }

    /// The server for a client that has come over TCP.
    pub fn over_tcp(mut self) -> Self {
        self.client.is_over_tcp = true;
        self
    }

    /// Whether a task runs, for which no client needs to be connected.
    pub fn is_busy(&self) -> bool {
        self.shared.tasks.running() > 0
    }

    /// Completes when no task runs any more.
    pub async fn until_idle(&self) {
        self.shared.tasks.until_none_runs().await;
    }

    /// Makes every call and task answer now, with what its program has printed.
    pub fn stop(&self) {
        self.shared.executions.stop();
    }

    /// Gives up the running tasks, because the daemon ends.
    pub async fn give_up(&self) {
        self.shared.tasks.clone().give_up().await;
    }

    /// Notes who the client is, once. `client` parses it from a request.
    fn note_client(&self, client: impl FnOnce() -> Option<Implementation>) {
        if self.client.is_named.load(Ordering::Relaxed) {
            return;
        }
        let Some(client) = client() else { return };
        if !self.client.is_named.swap(true, Ordering::Relaxed) {
            let bounded = |text: &str| text.chars().take(MAX_NAME_CHARACTERS).collect::<String>();
            let (name, version) = (bounded(&client.name), bounded(&client.version));
            self.client.session.record("client_name", name.as_str());
            self.client.session.record("client_version", version.as_str());
            self.shared.executions.board.client(self.client.key, name, version);
            self.client.session.in_scope(|| tracing::debug!("the client said its name"));
        }
    }
}

/// Whether the request is of the era without handshakes. Only that era has tasks: those of an older revision were different.
fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Refuses methods that older revisions do not have.
fn only_modern<M: rmcp::model::ConstString>(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    if is_modern(context) { Ok(()) } else { Err(ErrorData::method_not_found::<M>()) }
}

fn implementation() -> Implementation {
    Implementation::new(NAME, env!("CARGO_PKG_VERSION"))
        .with_title(TITLE)
        .with_description(DESCRIPTION)
        .with_icons(vec![tools::icon()])
}

/// Adds this server's name and version, which each result carries.
fn stamp(meta: Option<MetaObject>) -> MetaObject {
    let mut meta = meta.unwrap_or_default();
    meta.insert(SERVER_INFO_KEY.to_owned(), json!({ "name": NAME, "version": env!("CARGO_PKG_VERSION") }));
    meta
}

fn internal(message: &'static str) -> ErrorData {
    ErrorData::internal_error(message, None)
}

fn only_page(request: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor) {
        None => Ok(()),
        Some(_) => Err(ErrorData::invalid_params("The list has one page, and no cursor leads to another.", None)),
    }
}

fn unknown_task() -> ErrorData {
    ErrorData::invalid_params("There is no task with this id: it is mistyped, or its time is up.", None)
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities).with_server_info(implementation()).with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        self.note_client(|| Some(request.client_info.clone()));
        self.shared.descriptions.refresh();
        context.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?;
        result.capabilities.extensions = None;
        Ok(result)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        // Once, even if the client repeats the notification.
        if !self.client.is_told_of_changes.swap(true, Ordering::Relaxed) {
            self.tell_changes(context.peer);
        }
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        self.note_client(|| context.client_info());
        self.shared.descriptions.refresh();
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
        self.note_client(|| context.client_info());
        only_page(request)?;
        self.shared.descriptions.refresh();
        let tools = self.shared.descriptions.known().await;
        let mut tools = ListToolsResult::with_all_items(tools.to_vec());
        tools.meta = Some(stamp(None));
        Ok(tools.with_ttl_ms(CACHE_MILLISECONDS).with_cache_scope(CacheScope::Private))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.shared.descriptions.now().iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.note_client(|| context.client_info());
        let begun = self.begin(call, &context)?;
        self.end(begun, &context.ct).await
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        only_page(request)?;
        let mut files = ListResourcesResult::with_all_items(self.shared.executions.recent.list());
        files.meta = Some(stamp(None));
        // Every call may add files.
        Ok(files.with_ttl_ms(0).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        only_page(request)?;
        let mut templates = ListResourceTemplatesResult::with_all_items(resources::templates());
        templates.meta = Some(stamp(None));
        Ok(templates.with_ttl_ms(CACHE_MILLISECONDS).with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let contents = resources::read(&request.uri, &*self.shared.executions.interpreters()).await?;
        let mut result = ReadResourceResult::new(vec![contents]);
        result.meta = Some(stamp(None));
        Ok(result.with_ttl_ms(resources::CACHE_MILLISECONDS).with_cache_scope(CacheScope::Private).into())
    }

    /// Completes arguments of resource templates: ids and names of listed files.
    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let Reference::Resource(_) = &request.r#ref else {
            return Err(ErrorData::invalid_params(
                "There are no prompts: only arguments of resource templates are completed.",
                None,
            ));
        };
        let chosen = request.context.as_ref().and_then(|context| context.get_argument("id").cloned());
        let mut found: Vec<String> = Vec::new();
        for file in self.shared.executions.recent.list() {
            let Ok(uri) = file.uri.parse::<resources::FileUri>() else { continue };
            let suggestion = match request.argument.name.as_str() {
                "id" => uri.id,
                "name" if chosen.as_ref().is_none_or(|chosen| *chosen == uri.id) => uri.name,
                _ => continue,
            };
            if suggestion.starts_with(&request.argument.value) && !found.contains(&suggestion) {
                found.push(suggestion);
            }
        }
        let total = u32::try_from(found.len()).unwrap_or(u32::MAX);
        found.truncate(MAX_SUGGESTIONS);
        let has_more = found.len() < total as usize;
        let completion = CompletionInfo::with_pagination(found, Some(total), has_more)
            .map_err(|error| ErrorData::internal_error(error, None))?;
        let mut result = CompleteResult::new(completion);
        result.meta = Some(stamp(None));
        Ok(result)
    }

    fn accepted_subscription_filter(&self, _requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(SubscriptionFilter::builder().tools_list_changed().resources_list_changed().build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        // Boxed because it is large and rare: rmcp allocates and moves the largest handler's future for every request.
        Box::pin(self.tell_subscriber(context)).await;
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        only_modern::<rmcp::model::GetTaskMethod>(&context)?;
        let mut result = GetTaskResult::new(self.shared.tasks.get(&request.task_id).await.ok_or_else(unknown_task)?);
        result.meta = Some(stamp(None));
        Ok(result)
    }

    /// Our tasks never ask for input, so there is nothing to update.
    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        only_modern::<rmcp::model::UpdateTaskMethod>(&context)?;
        if self.shared.tasks.knows(&request.task_id) { Ok(()) } else { Err(unknown_task()) }
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        only_modern::<rmcp::model::CancelTaskMethod>(&context)?;
        self.shared.tasks.cancel(&request.task_id).map_err(|error| match error {
            NotCancelled::Unknown => unknown_task(),
            NotCancelled::Elsewhere => ErrorData::invalid_request(
                "The daemon before this one runs the task and is about to stop: the task ends with it.",
                None,
            ),
        })
    }
}
