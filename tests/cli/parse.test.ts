import { describe, expect, test } from "bun:test"
import { absentOf, flagOf, OPTIONS, optionsOf } from "../../src/cli/options.ts"
import { nearest, parseArgs } from "../../src/cli/parse.ts"
import { samplingOf } from "../../src/cli/sampling.ts"
import { CliError } from "../../src/errors.ts"
import { DEFAULT_SAMPLING } from "../../src/session/sampler.ts"
import { COMMANDS } from "./support.ts"

/** Sets variables for the time of a call. */
function withEnv<T>(variables: Record<string, string>, work: () => T): T {
  const before = { ...process.env }
  Object.assign(process.env, variables)
  try {
    return work()
  } finally {
    for (const name of Object.keys(variables))
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
  }
}

const refusal = (command: string, ...argv: string[]): string => {
  try {
    parseArgs(command, argv)
  } catch (error) {
    expect(error).toBeInstanceOf(CliError)
    return (error as Error).message
  }
  throw new Error(`${argv.join(" ")} was accepted`)
}

describe("parseArgs()", () => {
  test("takes every option of every command, in each spelling", () => {
    for (const option of OPTIONS)
      for (const command of option.commands) {
        if (command === "") continue
        const value = option.choices?.[0] ?? (option.number ? String(option.number.max) : "text")
        for (const flag of option.value ? [flagOf(option.name), ...(option.alias ?? [])] : []) {
          expect(parseArgs(command, [flag, value]).text(option.name)).toBe(value)
          expect(parseArgs(command, [`${flag}=${value}`]).text(option.name)).toBe(value)
        }
        for (const [flag, sets] of Object.entries(option.sets ?? {}))
          if (!option.refused?.[sets])
            expect(parseArgs(command, [flag]).text(option.name)).toBe(sets)
        if (!option.value && !option.sets)
          expect(parseArgs(command, [flagOf(option.name)]).flag(option.name)).toBe(true)
      }
  })

  test("understands the flags of the rival", () => {
    const argv = "--nothink -sys S --ctx 4096 -n 100 -t 2 --cpu --temp 0.5 --top-p .9".split(" ")
    const args = parseArgs("chat", [...argv, "--min-p", "0", "--seed", "7", "-p", "hello"])
    expect(args.text("think")).toBe("off")
    expect(args.text("system")).toBe("S")
    expect(["ctx", "tokens", "threads", "temp", "topP"].map(args.number)).toEqual([
      4096, 100, 2, 0.5, 0.9,
    ])
    expect(args.text("backend")).toBe("cpu")
    expect(args.text("prompt")).toBe("hello")
  })

  test("leaves text as it is, numbers in it too", () => {
    const args = parseArgs("chat", ["-p", "007", "--system", "1e3", "-m", "12"])
    expect(["prompt", "system", "model"].map(args.text)).toEqual(["007", "1e3", "12"])
    expect(parseArgs("tokenize", ["007"]).positional).toEqual(["007"])
    expect(parseArgs("chat", ["-p", "-3 + 5 = ?"]).text("prompt")).toBe("-3 + 5 = ?")
    expect(parseArgs("chat", ["-p=-3 + 5 = ?"]).text("prompt")).toBe("-3 + 5 = ?")
    expect(parseArgs("chat", ["-p=a=b"]).text("prompt")).toBe("a=b")
    expect(parseArgs("tokenize", ["--", "--json", "-x"], 2).positional).toEqual(["--json", "-x"])
  })

  test("the last of an option wins, --stop collects", () => {
    expect(parseArgs("chat", ["--think", "--no-think"]).text("think")).toBe("off")
    expect(parseArgs("chat", ["--ctx", "1", "-c", "2"]).number("ctx")).toBe(2)
    expect(parseArgs("chat", ["--stop", "a", "--stop", "b"]).all("stop")).toEqual(["a", "b"])
    expect(parseArgs("chat", []).all("stop")).toEqual([])
  })

  test("names flag, value and range of a bad number", () => {
    const wanted = "expected a whole number from 1 to 16777216"
    for (const value of ["0", "12x", "1.5", "-1", "", "0x10", "1e3", "99999999999"])
      expect(refusal("chat", "--ctx", value)).toBe(`--ctx is "${value}": ${wanted}`)
    for (const value of ["abc", "-0.1", "101", "NaN", "Infinity", "1,5"])
      expect(refusal("chat", "--temp", value)).toBe(
        `--temp is "${value}": expected a number from 0 to 100`,
      )
    expect(refusal("chat", "--seed", "18446744073709551616")).toContain("18446744073709551615")
  })

  test("says what is wrong in one line, with a suggestion", () => {
    expect(refusal("chat", "--hlep")).toBe("ds4 chat has no flag --hlep; did you mean --help?")
    expect(refusal("chat", "--temprature", "1")).toContain("did you mean --temperature?")
    expect(refusal("chat", "--nothnk")).toContain("did you mean --nothink?")
    expect(refusal("inspect", "--temp", "1")).toContain("ds4 inspect has no flag --temp")
    expect(refusal("chat", "-p")).toBe("-p needs a value: -p TEXT")
    expect(refusal("chat", "-p", "--no-think")).toContain("-p=--no-think")
    expect(refusal("chat", "--json=1")).toContain("takes no value")
    expect(refusal("chat", "--backend", "gpu")).toContain("expected cpu or reference")
    expect(refusal("chat", "--cuda")).toContain("--backend cuda is not built yet")
    expect(refusal("inspect", "a", "b")).toContain('cannot use "b"')
  })

  test("a variable stands for its flag, a flag wins over it", () => {
    withEnv({ DS4_CTX: "4096", DS4_THINK: "off", DS4_TEMP: "0" }, () => {
      expect(parseArgs("chat", []).number("ctx")).toBe(4096)
      expect(parseArgs("chat", []).text("think")).toBe("off")
      expect(parseArgs("chat", ["--think", "-c", "8192"]).number("ctx")).toBe(8192)
      expect(parseArgs("chat", ["--think"]).text("think")).toBe("on")
      expect(parseArgs("tokenize", []).number("ctx")).toBeUndefined()
    })
    withEnv({ DS4_CTX: "many" }, () => expect(refusal("chat")).toContain('DS4_CTX is "many"'))
    withEnv({ DS4_CTX: "" }, () => expect(parseArgs("chat", []).number("ctx")).toBeUndefined())
  })
})

describe("the table of options", () => {
  test("no flag and no variable belongs to two options of a command", () => {
    for (const command of COMMANDS) {
      const options = optionsOf(command)
      const flags = options.flatMap((o) => [
        flagOf(o.name),
        ...(o.alias ?? []),
        ...Object.keys(o.sets ?? {}).filter((flag) => flag !== flagOf(o.name)),
      ])
      expect(flags).toEqual([...new Set(flags)])
      const variables = options.flatMap((o) => o.env ?? [])
      expect(variables).toEqual([...new Set(variables)])
    }
  })

  test("says the defaults that the sampler has", () => {
    const said = (name: string) =>
      Number(
        absentOf(
          OPTIONS.find((o) => o.name === name)!,
          "chat",
        ),
      )
    const { temperature, topP, minP, topK } = DEFAULT_SAMPLING
    expect(["temp", "topP", "minP", "topK"].map(said)).toEqual([temperature, topP, minP, topK])
  })

  test("samplingOf() has what was given, and seeds of 64 bits", () => {
    expect(samplingOf(parseArgs("chat", []))).toEqual({})
    const args = parseArgs("chat", [
      "--temp",
      "0",
      "--top-k",
      "5",
      "--seed",
      "18446744073709551615",
    ])
    expect(samplingOf(args)).toEqual({ temperature: 0, topK: 5, seed: 2n ** 64n - 1n })
  })
})

test("nearest() finds slips of the finger and beginnings, and nothing far off", () => {
  const known = ["chat", "batch", "tokenize", "inspect"]
  expect(["chta", "bacth", "tok", "inspct"].map((w) => nearest(w, known))).toEqual(known)
  expect(nearest("serve", known)).toBeUndefined()
  expect(nearest("x", known)).toBeUndefined()
})
