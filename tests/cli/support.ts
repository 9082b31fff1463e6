/** Running the command line from outside, and a screen to look at what it draws. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import pc from "picocolors"
import type { Io } from "../../src/cli/io.ts"
import { ROOT } from "../support/models.ts"

export interface RunOptions {
  /** Text on a pipe, "open pipe" for one that stays open, a file, or nothing (/dev/null). */
  stdin?: string | ReturnType<typeof Bun.file>
  env?: Record<string, string>
  cwd?: string
}

const home = mkdtempSync(join(tmpdir(), "ds4-home-"))
process.on("exit", () => rmSync(home, { recursive: true, force: true }))

/** An environment without the caller's models and variables. */
export const cleanEnv = (more: Record<string, string> = {}): Record<string, string> => ({
  PATH: process.env["PATH"] ?? "",
  HOME: home,
  TERM: "xterm-256color",
  ...more,
})

export const CLI = [process.execPath, join(ROOT, "src/cli.ts")]

/** Runs ds4 and returns what it said. Text goes through a real pipe: Bun would hand over bytes as a file. */
export async function ds4(args: readonly string[], options: RunOptions = {}) {
  const { stdin = "", env, cwd = ROOT } = options
  const isFile = typeof stdin !== "string"
  const child = Bun.spawn([...CLI, ...args], {
    cwd,
    env: cleanEnv(env),
    stdin: isFile ? stdin : stdin === "" ? "ignore" : "pipe",
    stdout: "pipe",
    stderr: "pipe",
  })
  if (!isFile && stdin !== "" && stdin !== "open pipe") {
    const pipe = child.stdin as Bun.FileSink
    pipe.write(stdin)
    await pipe.end()
  }
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  return { out, err, code: await child.exited }
}

/** An Io that keeps what it is told. */
export function fakeIo(over: Partial<Io> = {}): Io & { text(): string; errors(): string } {
  let out = ""
  let err = ""
  return {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    outTTY: true,
    errTTY: false,
    input: "terminal",
    readInput: async () => "",
    movesCursor: true,
    columns: () => 40,
    rows: () => 10,
    colors: pc.createColors(false),
    errColors: pc.createColors(false),
    resolvePath: (path) => path,
    text: () => out,
    errors: () => err,
    ...over,
  }
}

/** The same for a command without a terminal, whose input is a file. */
export const plainIo = (input = "") =>
  fakeIo({
    outTTY: false,
    input: "file",
    readInput: async () => input,
    movesCursor: false,
    columns: () => 80,
    rows: () => 24,
    resolvePath: (path) => resolve(path),
  })

/** All commands, in the order of the help. */
export const COMMANDS = [
  "chat",
  "batch",
  "serve",
  "tokenize",
  "inspect",
  "logits",
  "perplexity",
  "bench",
  "cache",
  "doctor",
]

/** What a terminal shows after some output: lines from the first to the last. Knows the sequences that
 *  ds4 writes; throws at others. */
export function screenOf(output: string, columns = 40): string[] {
  const lines: string[][] = [[]]
  let [row, column] = [0, 0]
  // oxlint-disable-next-line no-control-regex
  for (const [part] of output.matchAll(/\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[^]/gu)) {
    const sequence = part.match(/^\x1b\[([0-9;?]*)([A-Za-z])$/)
    if (part === "\r") column = 0
    else if (part === "\n") {
      row++
      column = 0
      lines[row] ??= []
    } else if (!sequence) {
      if (part.startsWith("\x1b]")) continue
      if (part < " ") throw new Error(`control character ${JSON.stringify(part)}`)
      if (column >= columns) {
        row++
        column = 0
        lines[row] ??= []
      }
      lines[row]![column++] = part
    } else {
      const n = Number(sequence[1] || 1)
      switch (sequence[2]) {
        case "A":
          row = Math.max(0, row - n)
          break
        case "B":
          row += n
          break
        case "C":
          column += n
          break
        case "J":
          lines.length = row + 1
          lines[row]!.length = Math.min(lines[row]!.length, column)
          break
        case "K":
          lines[row]!.length = Math.min(lines[row]!.length, column)
          break
        case "m":
        case "h":
        case "l":
          break
        default:
          throw new Error(`unknown sequence ${JSON.stringify(part)}`)
      }
    }
  }
  return lines.map((line) => Array.from(line, (c) => c ?? " ").join(""))
}

/** A file that is gone after the tests. */
export function temporary(name: string): string {
  return join(home, name)
}

/** ds4 in a pseudo terminal. */
export class Pty {
  output = ""
  readonly #process: Bun.Subprocess
  readonly #decoder = new TextDecoder()
  #seen = 0

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.#process = Bun.spawn([...CLI, ...args], {
      cwd: ROOT,
      env: cleanEnv(env),
      terminal: {
        cols: 80,
        rows: 24,
        data: (_terminal: unknown, bytes: Uint8Array) => {
          this.output += this.#decoder.decode(bytes, { stream: true })
        },
      },
    } as Parameters<typeof Bun.spawn>[1])
  }

  /** Waits until something new matches; returns it. */
  async expect(pattern: RegExp): Promise<string> {
    const end = performance.now() + 20_000
    while (performance.now() < end) {
      const found = this.output.slice(this.#seen).match(pattern)
      if (found) {
        this.#seen += found.index! + found[0].length
        return found[0]
      }
      await Bun.sleep(5)
    }
    throw new Error(`no ${pattern} in ${JSON.stringify(this.output.slice(this.#seen))}`)
  }

  type(text: string): void {
    ;(this.#process as unknown as { terminal: { write(t: string): void } }).terminal.write(text)
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name)
  }

  get exited(): Promise<number> {
    return this.#process.exited
  }
}
