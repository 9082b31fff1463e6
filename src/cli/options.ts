/** The one table of options (design D13): flags, aliases, environment variables, ranges, defaults and
 *  help of every command. Values are read here and nowhere else, as text, so that `007` stays `007`. */
import { CliError } from "../errors.ts"
import { env } from "../env.ts"

export interface Option {
  /** Name in code; the flag is its kebab-case form. */
  name: string
  /** Other spellings, with their dashes. */
  alias?: readonly string[]
  /** What follows the flag in help; a flag without one takes no value. */
  value?: string
  env?: string
  /** Range of a number; integers unless `float`. */
  number?: { min: number; max: number; float?: true }
  choices?: readonly string[]
  help: string
}

const MODEL_COMMANDS = ["chat", "batch", "logits", "perplexity", "doctor", "inspect", "tokenize"]
const RUN_COMMANDS = ["chat", "batch", "logits", "perplexity"]
const SAMPLE_COMMANDS = ["chat", "batch"]

/** Options with the commands that take them. */
// prettier-ignore
export const OPTIONS: readonly (Option & { commands: readonly string[] })[] = [
  { name: "model", alias: ["-m"], value: "FILE", env: "DS4_MODEL", commands: MODEL_COMMANDS, help: "GGUF file (else ~/.ds4/models, else ds4-mini)" },
  { name: "ctx", alias: ["-c"], value: "N", env: "DS4_CTX", number: { min: 1, max: 2 ** 24 }, commands: [...RUN_COMMANDS, "doctor", "inspect"], help: "context in tokens (32768, or the largest that fits)" },
  { name: "threads", alias: ["-t"], value: "N", env: "DS4_THREADS", number: { min: 1, max: 1024 }, commands: [...RUN_COMMANDS, "doctor"], help: "CPU threads (one per physical core)" },
  { name: "backend", value: "NAME", env: "DS4_BACKEND", choices: ["cpu", "reference", "trace"], commands: [...RUN_COMMANDS, "doctor"], help: "cpu, or reference (slow, exact)" },
  { name: "cpu", commands: RUN_COMMANDS, help: "same as --backend cpu" },
  { name: "isa", value: "NAME", env: "DS4_ISA", commands: [...RUN_COMMANDS, "doctor"], help: "instruction set of the CPU kernels (the best here)" },
  { name: "prompt", alias: ["-p"], value: "TEXT", commands: ["chat"], help: "ask once and leave; `-` reads stdin" },
  { name: "promptFile", value: "FILE", commands: ["chat"], help: "ask once, with the text of a file" },
  { name: "system", alias: ["-sys", "-s"], value: "TEXT", env: "DS4_SYSTEM", commands: ["chat"], help: "system text (none)" },
  { name: "think", commands: SAMPLE_COMMANDS, help: "think before answering (default)" },
  { name: "noThink", alias: ["--nothink"], commands: SAMPLE_COMMANDS, help: "answer at once" },
  { name: "thinkMax", commands: SAMPLE_COMMANDS, help: "think as hard as possible (context of 393216 or more)" },
  { name: "efforts", value: "SET", choices: ["v4", "0731"], commands: ["chat", "batch", "tokenize"], help: "effort texts of the May files (v4) or of the 0731 ones" },
  { name: "tokens", alias: ["-n"], value: "N", env: "DS4_TOKENS", number: { min: 1, max: 2 ** 24 }, commands: SAMPLE_COMMANDS, help: "tokens to generate at most (until the context is full)" },
  { name: "temp", alias: ["--temperature"], value: "T", env: "DS4_TEMP", number: { min: 0, max: 100, float: true }, commands: SAMPLE_COMMANDS, help: "temperature (1); 0: always the likeliest token" },
  { name: "topP", value: "P", number: { min: 0, max: 1, float: true }, commands: SAMPLE_COMMANDS, help: "keep tokens up to this total probability (1)" },
  { name: "topK", value: "K", number: { min: 0, max: 2 ** 21 }, commands: SAMPLE_COMMANDS, help: "keep so many tokens (0: all)" },
  { name: "minP", value: "P", number: { min: 0, max: 1, float: true }, commands: SAMPLE_COMMANDS, help: "drop tokens less likely than this times the best (0.05)" },
  { name: "seed", value: "N", number: { min: 0, max: Number.MAX_SAFE_INTEGER }, commands: SAMPLE_COMMANDS, help: "same seed, same text" },
  { name: "stop", value: "TEXT", commands: SAMPLE_COMMANDS, help: "end the answer before this text" },
  { name: "parallel", value: "N", number: { min: 1, max: 256 }, commands: ["batch"], help: "requests decoded together (8)" },
  { name: "ids", value: "FILE", commands: ["logits"], help: "JSON array of token ids" },
  { name: "out", value: "FILE", commands: ["logits"], help: "float32 logits [position][vocabulary]" },
  { name: "hidden", value: "FILE", commands: ["logits"], help: "float32 streams [position][layer][stream][dim]" },
  { name: "chunk", value: "N", number: { min: 1, max: 4096 }, commands: ["logits", "perplexity"], help: "rows of a step (512)" },
  { name: "tensors", commands: ["inspect"], help: "list every tensor" },
  { name: "chat", value: "FILE", commands: ["tokenize"], help: "render and encode conversations of a .json or .jsonl file" },
  { name: "special", commands: ["tokenize"], help: "recognise control tokens in the text" },
  { name: "selftest", commands: ["doctor"], help: "run every kernel against the reference" },
  { name: "json", commands: ["chat", "inspect", "tokenize", "perplexity", "doctor"], help: "machine-readable output" },
]

export interface Args {
  command: string
  positional: string[]
  /** Value of an option: flag, else environment. */
  text(name: string): string | undefined
  number(name: string): number | undefined
  flag(name: string): boolean
  /** Whether the flag itself was typed. */
  given(name: string): boolean
}

/** `topP` → `--top-p`. */
export const flagOf = (name: string): string =>
  `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`

/** Reads the arguments of a command. @throws CliError: one line that names the flag. */
export function parseArgs(command: string, argv: readonly string[]): Args {
  const options = OPTIONS.filter((o) => o.commands.includes(command))
  const byFlag = new Map(
    options.flatMap((o) => [flagOf(o.name), ...(o.alias ?? [])].map((f) => [f, o])),
  )
  const values = new Map<string, string>()
  const positional: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!
    if (arg === "--") {
      positional.push(...argv.slice(i + 1))
      break
    }
    if (!arg.startsWith("-") || arg === "-") {
      positional.push(arg)
      continue
    }
    const equals = arg.startsWith("--") ? arg.indexOf("=") : -1
    const flag = equals < 0 ? arg : arg.slice(0, equals)
    const option = byFlag.get(flag)
    if (!option) throw unknownFlag(command, flag, [...byFlag.keys()])
    if (!option.value) {
      if (equals >= 0) throw new CliError(`${flag} takes no value`)
      values.set(option.name, "true")
      continue
    }
    const value = equals < 0 ? argv[++i] : arg.slice(equals + 1)
    if (value === undefined) throw new CliError(`${flag} needs a value: ${flag} ${option.value}`)
    values.set(option.name, check(option, flag, value))
  }
  return makeArgs(command, positional, options, values)
}

function makeArgs(
  command: string,
  positional: string[],
  options: readonly Option[],
  values: ReadonlyMap<string, string>,
): Args {
  const fromEnv = (name: string) => {
    const option = options.find((o) => o.name === name)
    const value = option?.env && env(option.env)
    return value ? check(option!, option!.env!, value) : undefined
  }
  const text = (name: string) => values.get(name) ?? fromEnv(name)
  return {
    command,
    positional,
    text,
    number: (name) => {
      const value = text(name)
      return value === undefined ? undefined : Number(value)
    },
    flag: (name) => values.has(name),
    given: (name) => values.has(name),
  }
}

function check(option: Option, flag: string, value: string): string {
  const range = option.number
  if (range) {
    const n = Number(value)
    const whole = range.float || Number.isInteger(n)
    if (value.trim() === "" || !(n >= range.min && n <= range.max) || !whole)
      throw new CliError(
        `${flag} is "${value}"; a ${range.float ? "" : "whole "}number from ${range.min} to ` +
          `${range.max} is wanted`,
      )
  }
  if (option.choices && !option.choices.includes(value))
    throw new CliError(`${flag} is "${value}"; it can be ${option.choices.join(", ")}`)
  return value
}

function unknownFlag(command: string, flag: string, known: readonly string[]): CliError {
  const near = nearest(flag, known)
  const hint = near ? `; did you mean ${near}?` : ""
  return new CliError(`ds4 ${command} has no flag ${flag}${hint} (ds4 ${command} --help lists all)`)
}

/** The closest of `known` within a third of its length, by edit distance. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let distance = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const k of known) {
    const d = editDistance(word, k)
    if (d < distance) [best, distance] = [k, d]
  }
  return best
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)),
      )
    row = next
  }
  return row[b.length]!
}
