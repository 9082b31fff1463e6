/** argv to values, by the table of options. Values stay text until they are asked for, so that `007`
 *  stays `007`; numbers are checked against their range here, once. */
import { env } from "../env.ts"
import { CliError } from "../errors.ts"
import {
  type Args,
  flagOf,
  type NumberRange,
  type Option,
  optionsOf,
  spellings,
} from "./options.ts"

/** Reads the arguments of a command, at most `maxPositional` of which are no flags.
 *  @throws CliError: one line that names the flag, the value and what is wanted. */
export function parseArgs(command: string, argv: readonly string[], maxPositional = 1): Args {
  const options = optionsOf(command)
  const { values, positional } = new ArgvReader(command, options, argv).read()
  if (positional.length > maxPositional) {
    const extra = JSON.stringify(positional[maxPositional])
    throw new CliError(`${nameOf(command)} cannot use ${extra}: see ${nameOf(command)} --help`)
  }
  for (const o of options) {
    const value = o.env === undefined ? undefined : env(o.env)
    if (value !== undefined && !values.has(o.name)) values.set(o.name, [check(o, o.env!, value)])
  }
  return makeArgs(command, positional, values)
}

function makeArgs(
  command: string,
  positional: string[],
  values: ReadonlyMap<string, string[]>,
): Args {
  const text = (name: string) => values.get(name)?.at(-1)
  const as = <T>(name: string, convert: (text: string) => T): T | undefined => {
    const value = text(name)
    return value === undefined ? undefined : convert(value)
  }
  return {
    command,
    positional,
    text,
    number: (name) => as(name, Number),
    bigint: (name) => as(name, BigInt),
    all: (name) => values.get(name) ?? [],
    flag: (name) => text(name) === "true",
  }
}

const nameOf = (command: string) => (command === "" ? "ds4" : `ds4 ${command}`)

class ArgvReader {
  readonly values = new Map<string, string[]>()
  readonly positional: string[] = []
  readonly #command: string
  readonly #argv: readonly string[]
  /** Every flag, with its option and the value it stands for if it takes none. */
  readonly #flags = new Map<string, { option: Option; sets?: string }>()
  #at = 0

  constructor(command: string, options: readonly Option[], argv: readonly string[]) {
    this.#command = command
    this.#argv = argv
    for (const option of options) {
      for (const flag of spellings(option))
        this.#flags.set(flag, option.value ? { option } : { option, sets: "true" })
      for (const [flag, sets] of Object.entries(option.sets ?? {}))
        this.#flags.set(flag, { option, sets })
    }
  }

  read(): this {
    while (this.#at < this.#argv.length) {
      const arg = this.#argv[this.#at++]!
      if (arg === "--") {
        this.positional.push(...this.#argv.slice(this.#at))
        break
      }
      if (arg.startsWith("-") && arg !== "-") this.#flag(arg)
      else this.positional.push(arg)
    }
    return this
  }

  #flag(arg: string): void {
    const equals = arg.indexOf("=")
    const flag = equals < 0 ? arg : arg.slice(0, equals)
    const known = this.#flags.get(flag)
    if (!known) throw this.#unknown(flag)
    const { option, sets } = known
    const written = equals < 0 ? undefined : arg.slice(equals + 1)
    if (sets !== undefined) {
      if (written !== undefined)
        throw new CliError(`${flag} takes no value, "${written}" was given`)
      return this.#set(option, flag, sets)
    }
    this.#set(option, flag, written ?? this.#next(flag, option))
  }

  /** The argument after a flag. One that is a flag itself is more likely a value left out. */
  #next(flag: string, option: Option): string {
    const value = this.#argv[this.#at++]
    if (value === undefined) throw new CliError(`${flag} needs a value: ${flag} ${option.value}`)
    if (value.length > 1 && this.#flags.has(value))
      throw new CliError(
        `${flag} needs a value, "${value}" is a flag (if it is meant: ${flag}=${value})`,
      )
    return value
  }

  #set(option: Option, flag: string, value: string): void {
    const checked = check(option, flag, value)
    const before = option.many ? (this.values.get(option.name) ?? []) : []
    this.values.set(option.name, [...before, checked])
  }

  #unknown(flag: string): CliError {
    const near = nearest(flag, [...this.#flags.keys()])
    const hint = near ? `; did you mean ${near}?` : `; see ${nameOf(this.#command)} --help`
    return new CliError(`${nameOf(this.#command)} has no flag ${flag}${hint}`)
  }
}

/** A value that the option can take. @throws CliError naming flag, value and what is wanted. */
function check(option: Option, source: string, value: string): string {
  const wrong = (wanted: string) => new CliError(`${source} is "${value}": ${wanted}`)
  if (option.number) {
    if (!inRange(option.number, value)) throw wrong(`expected ${rangeText(option.number)}`)
    return option.number.kind === "bytes" ? String(bytesOf(value.trim())) : value.trim()
  }
  if (option.refused && Object.hasOwn(option.refused, value))
    throw new CliError(`${flagOf(option.name)} ${value} ${option.refused[value]}`)
  if (option.choices && !option.choices.includes(value))
    throw wrong(`expected ${option.choices.join(" or ")}`)
  if (!option.value && !option.sets) return switchValue(value, wrong)
  if (value === "" && option.value === "FILE") throw wrong("expected the name of a file")
  return value
}

/** On and off, as they come from the environment. */
function switchValue(value: string, wrong: (wanted: string) => CliError): string {
  if (["1", "true", "yes", "on"].includes(value)) return "true"
  if (["0", "false", "no", "off"].includes(value)) return "false"
  throw wrong("expected 1 or 0")
}

const WHOLE = /^\+?[0-9]+$/
const DECIMAL = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i

function inRange({ kind, min, max }: NumberRange, text: string): boolean {
  const value = text.trim()
  if (kind === "bytes") return bytesOf(value) <= max
  if (!(kind === "decimal" ? DECIMAL : WHOLE).test(value)) return false
  const n = kind === "64 bits" ? BigInt(value.replace("+", "")) : Number(value)
  return n >= min && n <= max
}

const SIZE = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i

/** `4G`, `500 MiB` without the blank, `1000`: as bytes; NaN for what is none of these. */
function bytesOf(text: string): number {
  const [, digits, unit = ""] = text.match(SIZE) ?? []
  if (digits === undefined) return Number.NaN
  return Math.floor(Number(digits) * 1024 ** ["", "K", "M", "G", "T"].indexOf(unit.toUpperCase()))
}

const rangeText = ({ kind, min, max }: NumberRange) =>
  kind === "bytes"
    ? "a size like 5000000, 500M or 4G"
    : `a ${kind === "decimal" ? "" : "whole "}number from ${min} to ${max}`

/** The closest of `known` within a third of its length, by edits; one that it begins comes first. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const bare = word.replace(/^-+/, "")
  if (bare.length >= 3) {
    const longer = known.filter((k) => k.replace(/^-+/, "").startsWith(bare))
    if (longer.length === 1) return longer[0]
  }
  let best: string | undefined
  let distance = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const k of known) {
    const d = editDistance(word, k)
    if (d < distance && d < Math.max(word.length, k.length) - 1) [best, distance] = [k, d]
  }
  return best
}

/** Insertions, deletions, replacements and swaps of neighbours that make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let older: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
          ? older[j - 2]! + 1
          : Infinity
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, replaced, swapped))
    }
    older = row
    row = next
  }
  return row[b.length]!
}
