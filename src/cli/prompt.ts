/** Where the question of `ds4 chat` comes from. */
import { readFileSync } from "node:fs"
import { CliError } from "../errors.ts"
import { decodeText, type Io } from "./io.ts"
import type { Args } from "./options.ts"

/** The question to ask once, or undefined for a conversation. With a question on the command line,
 *  stdin is read only if it is a regular file or asked for by `-`: a pipe that somebody left open would
 *  hang the program. @throws CliError for an empty question or a file that cannot be read. */
export async function promptOf(args: Args, io: Io): Promise<string | undefined> {
  const words = args.positional.filter((word) => word !== "-")
  const typed = args.text("prompt")
  const file = args.text("promptFile")
  const parts = [words.join(" "), typed === "-" ? "" : (typed ?? "")]
  if (file !== undefined && file !== "-") parts.push(readText(file, io))
  const wantsInput = [typed, file, ...args.positional].includes("-")
  const isTyped = words.length > 0 || typed !== undefined || file !== undefined
  if (wantsInput || (isTyped ? io.input === "file" : !isInteractive(io)))
    parts.push(await readInput(io))
  else if (!isTyped) return undefined
  const prompt = parts.filter((part) => part.trim() !== "").join("\n\n")
  if (prompt !== "") return prompt
  throw new CliError(
    'There is no question: give one with -p "…" or on stdin, or start `ds4 chat` in a terminal',
  )
}

/** A conversation needs a terminal on both sides. */
const isInteractive = (io: Io) => io.input === "terminal" && io.outTTY

async function readInput(io: Io): Promise<string> {
  if (io.input === "terminal") io.err("Type the question; Ctrl-D on a line of its own ends it.\n")
  return tidy(await io.readInput(), "stdin", io)
}

/** A file's text. @throws CliError when it cannot be read. */
export function readText(name: string, io: Io): string {
  try {
    return tidy(decodeText(readFileSync(io.resolvePath(name))), name, io)
  } catch (error) {
    throw new CliError(`Cannot read ${name}: ${reasonOf(error)}`)
  }
}

/** What a failed call on a file says, in words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  const words: Record<string, string> = {
    ENOENT: "there is no such file",
    EISDIR: "it is a folder",
    EACCES: "permission is denied",
    ENOSPC: "the disk is full",
    EROFS: "the disk is read-only",
  }
  return words[code ?? ""] ?? message
}

/** The line break at the end of a file is not part of the question. */
function tidy(text: string, source: string, io: Io): string {
  if (text.includes("\ufffd")) io.err(`${source} is not all UTF-8: some of it was replaced\n`)
  return text.replace(/^\ufeff/, "").replace(/\r?\n$/, "")
}
