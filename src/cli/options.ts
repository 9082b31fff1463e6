/** The one table of options (design D13): flags, other spellings, environment variables, ranges,
 *  defaults and help of every command. src/cli/parse.ts reads values by it, src/cli/help.ts prints it. */

export interface Option {
  /** Name in code; the flag is its kebab-case form. */
  name: string
  /** Other spellings, with their dashes. */
  alias?: readonly string[]
  /** What follows the flag in help; a flag without one takes no value. */
  value?: string
  /** Flags without a value that stand for one of this option: `--cpu` is `--backend cpu`. */
  sets?: Readonly<Record<string, string>>
  env?: string
  number?: NumberRange
  choices?: readonly string[]
  /** Values that are understood and not to be had, with what is said about them. */
  refused?: Readonly<Record<string, string>>
  /** May be given several times. */
  many?: true
  /** What holds where the option is absent: its value, or words about it; by command where they differ. */
  absent?: string | Readonly<Record<string, string>>
  help: string
}

/** What a command gets: the values of its flags, else of their environment variables. */
export interface Args {
  command: string
  positional: string[]
  text(name: string): string | undefined
  number(name: string): number | undefined
  /** A whole number of up to 64 bits. */
  bigint(name: string): bigint | undefined
  /** All values of an option that may be given several times. */
  all(name: string): string[]
  flag(name: string): boolean
}

export interface NumberRange {
  kind: "whole" | "decimal" | "64 bits" | "bytes"
  min: number | bigint
  max: number | bigint
}

const whole = (min: number, max: number): NumberRange => ({ kind: "whole", min, max })
const decimal = (min: number, max: number): NumberRange => ({ kind: "decimal", min, max })

/** A size: 5000000, 500M, 4G, 1.5T; K, M, G and T are powers of 1024. */
const BYTES: NumberRange = { kind: "bytes", min: 0, max: 2 ** 50 }

const RUN_COMMANDS = ["chat", "batch", "serve", "logits", "perplexity"]
const READ_COMMANDS = [...RUN_COMMANDS, "bench", "doctor", "inspect", "tokenize"]
const ANSWER_COMMANDS = ["chat", "batch"]
const KV_COMMANDS = ["chat", "serve", "cache"]
const EVERY_COMMAND = [...READ_COMMANDS, "cache", ""]

const NOT_YET = "is not built yet; cpu and reference are there"

/** Tokens that thinking at full effort needs room for. */
export const THINK_MAX_CONTEXT = 393_216

/** Options with the commands that take them; the command "" is `ds4` itself. */
// prettier-ignore
export const OPTIONS: readonly (Option & { commands: readonly string[] })[] = [
  { name: "prompt", alias: ["-p"], value: "TEXT", commands: ["chat"], help: "ask once and leave; - takes the question from stdin" },
  { name: "promptFile", value: "FILE", commands: ["chat"], help: "ask once, with the text of a file" },
  { name: "system", alias: ["-sys", "-s"], value: "TEXT", env: "DS4_SYSTEM", absent: "none", commands: ["chat"], help: "system text" },
  { name: "think", sets: { "--think": "on", "--no-think": "off", "--nothink": "off", "--think-max": "max" }, choices: ["on", "off", "max"], env: "DS4_THINK", absent: "on", commands: ANSWER_COMMANDS, help: "think before answering, answer at once, or think as hard as possible (--think-max, from a context of 393,216 on)" },
  { name: "efforts", value: "SET", env: "DS4_EFFORTS", choices: ["v4", "0731"], absent: "v4", commands: ["chat", "batch", "tokenize"], help: "effort texts of the first files (v4) or of those of July 31 (0731)" },
  { name: "tokens", alias: ["-n"], value: "N", env: "DS4_TOKENS", number: whole(1, 2 ** 24), absent: "until the context is full", commands: ANSWER_COMMANDS, help: "most tokens of an answer" },
  { name: "temp", alias: ["--temperature"], value: "T", env: "DS4_TEMP", number: decimal(0, 100), absent: "1", commands: ANSWER_COMMANDS, help: "temperature; 0: always the likeliest token" },
  { name: "topP", value: "P", env: "DS4_TOP_P", number: decimal(0, 1), absent: "1", commands: ANSWER_COMMANDS, help: "keep the likeliest tokens up to this sum of probability" },
  { name: "topK", value: "K", env: "DS4_TOP_K", number: whole(0, 2 ** 21), absent: "0", commands: ANSWER_COMMANDS, help: "keep so many tokens; 0: all" },
  { name: "minP", value: "P", env: "DS4_MIN_P", number: decimal(0, 1), absent: "0.05", commands: ANSWER_COMMANDS, help: "drop tokens less likely than this times the likeliest" },
  { name: "seed", value: "N", env: "DS4_SEED", number: { kind: "64 bits", min: 0n, max: 2n ** 64n - 1n }, absent: "random", commands: ANSWER_COMMANDS, help: "same seed, same answer" },
  { name: "stop", value: "TEXT", many: true, commands: ANSWER_COMMANDS, help: "end the answer before this text; may be given several times" },
  { name: "ids", value: "FILE", commands: ["logits"], help: "JSON array of token ids" },
  { name: "out", value: "FILE", commands: ["logits"], help: "float32 logits [position][vocabulary]" },
  { name: "hidden", value: "FILE", commands: ["logits"], help: "float32 streams [position][layer][stream][dim]" },
  { name: "promptFile", value: "FILE", absent: "a built-in text", commands: ["bench"], help: "text to read, over and over if it is short" },
  { name: "ctxStart", value: "N", number: whole(1, 2 ** 24), absent: "512", commands: ["bench"], help: "first context to measure at" },
  { name: "ctxMax", value: "N", number: whole(1, 2 ** 24), absent: "4096", commands: ["bench"], help: "last context to measure at" },
  { name: "stepMul", value: "F", number: decimal(1, 2 ** 24), absent: "2; 1 with --step-incr", commands: ["bench"], help: "from one context to the next: times this" },
  { name: "stepIncr", value: "N", number: whole(0, 2 ** 24), absent: "0", commands: ["bench"], help: "… and so many tokens more" },
  { name: "genTokens", alias: ["-n", "--tokens"], value: "N", number: whole(0, 2 ** 20), absent: "128", commands: ["bench"], help: "tokens to decode at each context, greedily" },
  { name: "ctxAlloc", value: "N", number: whole(1, 2 ** 24), absent: "what is measured", commands: ["bench"], help: "context to take memory for" },
  { name: "csv", value: "FILE", commands: ["bench"], help: "write the figures as CSV; - writes them, and nothing else, to stdout" },
  { name: "svg", value: "FILE", commands: ["bench"], help: "draw the figures" },
  { name: "synthetic", value: "SHAPE", commands: ["bench"], help: "measure random weights in the full model's shape: full:LAYERS or full:LAYERS:EXPERTS, written once into the cache" },
  { name: "kernels", commands: ["bench"], help: "measure single kernels against what memory and arithmetic allow" },
  { name: "only", value: "TEXT", commands: ["bench"], help: "only kernels with this in their op, type or shape: matmul, Q8_0, attn_q_b" },
  { name: "compare", value: "FILE", commands: ["bench"], help: "ratios of a second CSV to this one: --compare A.csv B.csv" },
  { name: "tensors", commands: ["inspect"], help: "list every tensor" },
  { name: "chat", value: "FILE", commands: ["tokenize"], help: "render and encode the conversations of a .json or .jsonl file" },
  { name: "special", commands: ["tokenize"], help: "recognise control tokens in the text" },
  { name: "selftest", commands: ["doctor"], help: "run every kernel against its reference" },
  { name: "json", commands: ["chat", "inspect", "tokenize", "perplexity", "doctor", "cache"], help: "output for programs" },
  { name: "model", alias: ["-m"], value: "FILE", env: "DS4_MODEL", absent: "~/.ds4/models, then ds4-mini", commands: READ_COMMANDS, help: "GGUF file" },
  { name: "ctx", alias: ["-c"], value: "N", env: "DS4_CTX", number: whole(1, 2 ** 24), absent: { "": "32768, or the largest that fits", batch: "what the requests need", logits: "the number of ids", perplexity: "4096", inspect: "memory is not reported" }, commands: [...RUN_COMMANDS, "doctor", "inspect"], help: "context in tokens" },
  { name: "parallel", value: "N", env: "DS4_PARALLEL", number: whole(1, 256), absent: { batch: "8", serve: "4" }, commands: ["batch", "serve"], help: "requests decoded together" },
  { name: "host", value: "NAME", env: "DS4_HOST", absent: "127.0.0.1", commands: ["serve"], help: "address to listen on; other than loopback needs an --api-key" },
  { name: "port", value: "N", env: "DS4_PORT", number: whole(0, 65_535), absent: "8000", commands: ["serve"], help: "port to listen on; 0: any that is free" },
  { name: "apiKey", value: "KEY", env: "DS4_API_KEY", absent: "none", commands: ["serve"], help: "key that requests must carry" },
  { name: "strictFields", commands: ["serve"], help: "refuse requests with a field that is not known; otherwise it is ignored, and named in x-ds4-ignored" },
  { name: "kvDisk", sets: { "--kv-disk": "on", "--no-kv-disk": "off" }, choices: ["on", "off"], env: "DS4_KV_DISK", absent: { chat: "on in a conversation", serve: "on" }, commands: ["chat", "serve"], help: "keep what was read on disk too, so that a restart need not read it again" },
  { name: "kvDir", value: "DIR", env: "DS4_KV_DIR", absent: "~/.cache/ds4/kv", commands: [...KV_COMMANDS, "doctor"], help: "folder of the KV cache on disk" },
  { name: "kvSpace", value: "SIZE", env: "DS4_KV_SPACE", number: BYTES, absent: "4G", commands: KV_COMMANDS, help: "what it may take: bytes, or 500M, 20G in units of 1024" },
  { name: "all", commands: ["cache"], help: "rm: everything" },
  { name: "model", alias: ["-m"], value: "MODEL", commands: ["cache"], help: "only of this model: the beginning of its id in `ds4 cache stats`, its name, or its file" },
  { name: "fix", commands: ["cache"], help: "verify: remove what is wrong" },
  { name: "chunk", value: "N", env: "DS4_CHUNK", number: whole(1, 4096), absent: "512", commands: ["logits", "perplexity", "bench"], help: "rows of a step" },
  { name: "threads", alias: ["-t"], value: "N", env: "DS4_THREADS", number: whole(1, 1024), absent: "one per physical core", commands: [...RUN_COMMANDS, "bench", "doctor"], help: "CPU threads" },
  { name: "backend", value: "NAME", sets: { "--cpu": "cpu", "--cuda": "cuda", "--metal": "metal" }, env: "DS4_BACKEND", choices: ["cpu", "reference"], refused: { cuda: NOT_YET, metal: NOT_YET }, absent: "cpu", commands: [...RUN_COMMANDS, "bench", "doctor"], help: "cpu, or reference (slow, exact)" },
  { name: "isa", value: "NAME", env: "DS4_ISA", absent: "the best here", commands: [...RUN_COMMANDS, "bench", "doctor"], help: "instruction set of the CPU kernels" },
  { name: "help", alias: ["-h"], commands: EVERY_COMMAND, help: "this text" },
  { name: "version", alias: ["-v"], commands: EVERY_COMMAND, help: "the version" },
]

/** The options of a command, in the order of its help. */
export const optionsOf = (command: string): readonly Option[] =>
  OPTIONS.filter((o) => o.commands.includes(command))

/** `topP` → `--top-p`. */
export const flagOf = (name: string): string =>
  `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`

/** Every spelling of an option that takes its value, or none, after it. */
export const spellings = (o: Option): string[] =>
  o.sets && !o.value ? [] : [flagOf(o.name), ...(o.alias ?? [])]

/** What holds where an option of a command is absent. */
export function absentOf(o: Option, command: string): string | undefined {
  if (o.absent === undefined || typeof o.absent === "string") return o.absent
  return o.absent[command] ?? o.absent[""]
}
