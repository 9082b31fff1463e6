/** From argv to a command. Help is laid out by cac (help.ts), values come from our own table. */
import packageJson from "../../package.json" with { type: "json" }
import { CliError } from "../errors.ts"
import type { CommandHelp } from "./help.ts"
import { type Io, processIo } from "./io.ts"
import type { Args } from "./options.ts"
import { nearest, parseArgs } from "./parse.ts"

interface Command extends CommandHelp {
  /** Arguments that are no flags, at most. */
  nArguments: number
  load(): Promise<{ run(args: Args, io: Io): Promise<number> }>
}

// prettier-ignore
const COMMANDS: Readonly<Record<string, Command>> = {
  chat: {
    usage: "chat [question]", nArguments: Infinity, load: () => import("./chat.ts"),
    help: "Talk to the model, or ask it once",
    examples: [
      "ds4 chat",
      'ds4 chat -p "What is the capital of France?" --no-think',
      "git diff | ds4 chat --system 'Write a commit message for this change.'",
      'ds4 chat -p "Summarise this." < notes.txt',
    ],
  },
  batch: {
    usage: "batch <file>", nArguments: 1, load: () => import("./batch.ts"),
    help: "Answer every request of a JSONL file, many at once",
    examples: [
      "ds4 batch requests.jsonl > answers.jsonl",
      'echo \'{"messages":[{"role":"user","content":"Hello"}],"max_tokens":50}\' | ds4 batch -',
    ],
  },
  serve: {
    usage: "serve", nArguments: 0, load: () => import("./serve.ts"),
    help: "Answer OpenAI and Anthropic clients over HTTP",
    examples: [
      "ds4 serve",
      "ds4 serve --port 9000 --parallel 8 --ctx 65536",
      "DS4_API_KEY=… ds4 serve --host 0.0.0.0",
    ],
  },
  tokenize: {
    usage: "tokenize [text]", nArguments: Infinity, load: () => import("./tokenize.ts"),
    help: "Show the tokens of a text, or of conversations",
    examples: ['ds4 tokenize "Hello there"', "ds4 tokenize --chat conversations.jsonl --json"],
  },
  inspect: {
    usage: "inspect [file]", nArguments: 1, load: () => import("../tools/inspect.ts"),
    help: "Say what a model file is, and what a context would take",
    examples: ["ds4 inspect -m model.gguf --ctx 100000", "ds4 inspect model.gguf --tensors"],
  },
  logits: {
    usage: "logits", nArguments: 0, load: () => import("../tools/logits.ts"),
    help: "Write the logits of every position of a list of ids",
    examples: ["ds4 logits --ids ids.json --out logits.f32 --hidden streams.f32"],
  },
  perplexity: {
    usage: "perplexity <file>", nArguments: 1, load: () => import("../tools/perplexity.ts"),
    help: "Measure how well the model foretells a text",
    examples: ["ds4 perplexity book.txt --ctx 4096"],
  },
  bench: {
    usage: "bench", nArguments: 1, load: () => import("../tools/bench.ts"),
    help: "Measure speed at growing contexts",
    examples: [
      "ds4 bench --ctx-max 32768 --csv speed.csv --svg speed.svg",
      "ds4 bench --synthetic full:3 --ctx-max 2048",
      "ds4 bench --kernels --only matmul",
      "ds4 bench --compare before.csv after.csv",
    ],
  },
  cache: {
    usage: "cache <ls|rm|verify|stats> [key]", nArguments: Infinity, load: () => import("../tools/cache.ts"),
    help: "Look at the KV cache on disk, check it, remove from it",
    examples: [
      "ds4 cache ls",
      "ds4 cache rm 3f9a21c07b54",
      "ds4 cache rm --model ds4-mini",
      "ds4 cache rm --all",
      "ds4 cache verify --fix",
      "ds4 cache stats --kv-dir /data/kv",
    ],
  },
  doctor: {
    usage: "doctor", nArguments: 0, load: () => import("../tools/doctor.ts"),
    help: "Look at machine, library, model and memory",
    examples: ["ds4 doctor", "ds4 doctor --selftest --backend reference"],
  },
}

/** Runs a command line. Returns the exit code. @throws CliError for a wrong command or flag. */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<number> {
  const { name, rest } = commandOf(argv)
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (name !== "" && !command) {
    const near = nearest(name, Object.keys(COMMANDS))
    throw new CliError(
      `There is no command "${name}"${near ? `; did you mean ${near}?` : "; see ds4 --help"}`,
    )
  }
  const args = parseArgs(name, rest, command?.nArguments ?? 0)
  if (args.flag("version")) {
    io.out(`ds4 ${packageJson.version}\n`)
    return 0
  }
  if (!command || args.flag("help")) {
    const { printHelp } = await import("./help.ts")
    printHelp(name, COMMANDS, packageJson.version, io)
    return args.flag("help") ? 0 : 2
  }
  return (await command.load()).run(args, io)
}

/** `ds4 help chat` is `ds4 chat --help`; flags without a command are for chat. */
function commandOf(argv: readonly string[]): { name: string; rest: readonly string[] } {
  const [first = "", ...rest] = argv
  if (first === "help") return { name: rest[0] ?? "", rest: ["--help"] }
  if (!first.startsWith("-")) return { name: first, rest }
  const isOurs = ["--help", "-h", "--version", "-v"].includes(first)
  return { name: isOurs ? "" : "chat", rest: argv }
}
