/** From argv to a command. Help and version by cac; values by our own table (options.ts). */
import { cac } from "cac"
import packageJson from "../../package.json" with { type: "json" }
import { CliError } from "../errors.ts"
import { type Io, processIo } from "./io.ts"
import { type Args, flagOf, nearest, OPTIONS, parseArgs } from "./options.ts"

interface Command {
  usage: string
  help: string
  examples: readonly string[]
  load(): Promise<{ run(args: Args, io: Io): Promise<number> }>
}

const COMMANDS: Record<string, Command> = {
  chat: {
    usage: "chat",
    help: "Talk to the model, or ask once with -p",
    examples: [
      "ds4 chat",
      'ds4 chat -p "What is the capital of France?"',
      "cat notes.txt | ds4 chat",
    ],
    load: () => import("./chat.ts"),
  },
  batch: {
    usage: "batch <file>",
    help: "Answer every request of a JSONL file, many at once",
    examples: ["ds4 batch requests.jsonl > answers.jsonl"],
    load: () => import("./batch.ts"),
  },
  tokenize: {
    usage: "tokenize [text]",
    help: "Show the token ids of a text, or of conversations",
    examples: ['ds4 tokenize "Hello there"', "ds4 tokenize --chat conversations.jsonl --json"],
    load: () => import("./tokenize.ts"),
  },
  inspect: {
    usage: "inspect [file]",
    help: "Say what a model file is, and what a context would take",
    examples: ["ds4 inspect -m model.gguf --ctx 100000", "ds4 inspect model.gguf --tensors"],
    load: () => import("../tools/inspect.ts"),
  },
  logits: {
    usage: "logits",
    help: "Write the logits of every position of a list of ids",
    examples: ["ds4 logits --ids ids.json --out logits.f32 --hidden streams.f32"],
    load: () => import("../tools/logits.ts"),
  },
  perplexity: {
    usage: "perplexity <file>",
    help: "Measure how well the model foretells a text",
    examples: ["ds4 perplexity book.txt --ctx 4096"],
    load: () => import("../tools/perplexity.ts"),
  },
  doctor: {
    usage: "doctor",
    help: "Look at machine, library, model and memory",
    examples: ["ds4 doctor", "ds4 doctor --selftest --isa avx2"],
    load: () => import("../tools/doctor.ts"),
  },
}

/** Runs a command line. Returns the exit code. @throws CliError for a wrong command or flag. */
export async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv
  const io = processIo()
  if (name === "--version" || name === "-v") {
    io.out(`ds4 ${packageJson.version} (Bun ${Bun.version})\n`)
    return 0
  }
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    help([])
    return name === undefined ? 2 : 0
  }
  const command = COMMANDS[name]
  if (!command) {
    const near = nearest(name, Object.keys(COMMANDS))
    throw new CliError(
      `There is no command "${name}"${near ? `; did you mean "${near}"?` : ""} (ds4 --help)`,
    )
  }
  const end = rest.indexOf("--")
  const flags = end < 0 ? rest : rest.slice(0, end)
  if (flags.includes("--help") || flags.includes("-h")) {
    help([name])
    return 0
  }
  const args = parseArgs(name, rest)
  return (await command.load()).run(args, io)
}

/** Prints the help of all commands, or of one. */
function help(argv: string[]): void {
  const cli = cac("ds4")
  for (const [name, c] of Object.entries(COMMANDS)) {
    const command = cli.command(c.usage, c.help)
    for (const o of OPTIONS.filter((x) => x.commands.includes(name))) {
      const flags = [...(o.alias ?? []), flagOf(o.name)].join(", ")
      const variable = o.env ? ` [${o.env}]` : ""
      command.option(o.value ? `${flags} <${o.value}>` : flags, `${o.help}${variable}`)
    }
    for (const example of c.examples) command.example(`  ${example}`)
  }
  cli.help()
  cli.version(packageJson.version)
  cli.parse(["bun", "ds4", ...argv, "--help"], { run: false })
}
