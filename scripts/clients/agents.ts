/** The coding agents: where they come from, how they are pointed at a server, and one call that each can
 *  make without harm. docs/clients.md says the same to people. */

/** The model's name, the context it is served with, and the most that an answer may have. */
export const MODEL = "ds4"
export const CONTEXT = 65536
const MAX_OUTPUT = 4096

/** Where an agent stands: a home and a working directory of its own, and the server to ask. */
export interface Place {
  home: string
  work: string
  url: string
}

export interface Agent {
  package: string
  version: string
  /** Its command, from the folder of the packages. */
  bin: string
  /** Files that it reads, by path. */
  files(place: Place): Record<string, object | string>
  env(place: Place): Record<string, string>
  /** Arguments that begin a conversation, and that go on with it. */
  begin: string[]
  goOn: string[]
  /** The call that reads a file of the working directory. */
  call(file: string): { name: string; args: Record<string, string> }
}

const codex: Agent = {
  package: "@openai/codex",
  version: "0.169.0",
  bin: "@openai/codex/bin/codex.js",
  files: ({ home, url }) => ({
    [`${home}/.codex/config.toml`]: `
model = "${MODEL}"
model_provider = "ds4"
model_context_window = ${CONTEXT}
check_for_update_on_startup = false

[model_providers.ds4]
name = "ds4"
base_url = "${url}/v1"
wire_api = "responses"

[analytics]
enabled = false

[features]
plugins = false
`,
  }),
  env: () => ({}),
  begin: ["exec", "--skip-git-repo-check"],
  goOn: ["exec", "resume", "--last", "--skip-git-repo-check"],
  // Codex has no tool that reads; its shell runs in a sandbox without write access.
  call: (file) => ({ name: "exec_command", args: { cmd: `cat ${file}` } }),
}

const claude: Agent = {
  package: "@anthropic-ai/claude-code",
  version: "2.1.330",
  bin: ".bin/claude",
  files: () => ({}),
  env: ({ url }) => ({
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_AUTH_TOKEN: "none",
    ANTHROPIC_MODEL: MODEL,
    ANTHROPIC_DEFAULT_HAIKU_MODEL: MODEL,
    CLAUDE_CODE_MAX_CONTEXT_TOKENS: String(CONTEXT),
    CLAUDE_CODE_MAX_OUTPUT_TOKENS: String(MAX_OUTPUT),
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
  }),
  begin: ["-p"],
  goOn: ["-p", "--continue"],
  call: (file) => ({ name: "Read", args: { file_path: file } }),
}

const opencode: Agent = {
  package: "opencode-ai",
  version: "1.18.33",
  bin: ".bin/opencode",
  files: ({ home, url }) => ({
    [`${home}/.config/opencode/opencode.json`]: {
      $schema: "https://opencode.ai/config.json",
      provider: {
        ds4: {
          npm: "@ai-sdk/openai-compatible",
          name: "ds4",
          options: { baseURL: `${url}/v1`, apiKey: "none" },
          models: { [MODEL]: { limit: { context: CONTEXT, output: MAX_OUTPUT } } },
        },
      },
      model: `ds4/${MODEL}`,
      small_model: `ds4/${MODEL}`,
      autoupdate: false,
      share: "disabled",
    },
  }),
  env: () => ({ OPENCODE_DISABLE_AUTOUPDATE: "1", OPENCODE_DISABLE_MODELS_FETCH: "1" }),
  begin: ["run"],
  goOn: ["run", "--continue"],
  call: (file) => ({ name: "read", args: { filePath: file } }),
}

const pi: Agent = {
  package: "@mariozechner/pi-coding-agent",
  version: "0.73.1",
  bin: "@mariozechner/pi-coding-agent/dist/cli.js",
  files: ({ home, url }) => ({
    [`${home}/.pi/agent/models.json`]: {
      providers: {
        ds4: {
          baseUrl: `${url}/v1`,
          api: "openai-completions",
          apiKey: "none",
          models: [{ id: MODEL, reasoning: true, contextWindow: CONTEXT, maxTokens: MAX_OUTPUT }],
        },
      },
    },
  }),
  env: () => ({ PI_OFFLINE: "1" }),
  begin: ["-p", "--provider", "ds4", "--model", MODEL],
  goOn: ["-p", "--continue", "--provider", "ds4", "--model", MODEL],
  call: (file) => ({ name: "read", args: { path: file } }),
}

export const AGENTS: Readonly<Record<string, Agent>> = { codex, claude, opencode, pi }
