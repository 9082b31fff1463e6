import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import packageJson from "../../package.json"
import { CLI, cleanEnv, COMMANDS, ds4, temporary } from "./support.ts"
import { MINI_Q2, ROOT } from "../support/models.ts"

const CAPITAL = "What is the capital of France?"
const PLAIN = ["chat", "--temp", "0", "--no-think"]

describe("ds4", () => {
  test("version, help of all and of each command", async () => {
    expect((await ds4(["--version"])).out).toBe(`ds4 ${packageJson.version}\n`)
    const all = await ds4(["--help"])
    expect(all.code).toBe(0)
    for (const command of COMMANDS) expect(all.out).toContain(`\n  ${command}`)
    const helps = await Promise.all(COMMANDS.map((c) => ds4([c, "--help"])))
    for (const { out, code } of helps) {
      expect(code).toBe(0)
      expect(out).toContain("Examples:\n  $ ds4 ")
      expect(out).not.toContain("\x1b")
      expect(Math.max(...out.split("\n").map((l) => l.length))).toBeLessThanOrEqual(101)
    }
    expect((await ds4(["help", "batch"])).out).toBe(helps[1]!.out)
    expect((await ds4([])).code).toBe(2)
  })

  test("what is wrong is one line with exit code 2", async () => {
    const wrong: [string[], string][] = [
      [["chta"], 'ds4: There is no command "chta"; did you mean chat?\n'],
      [["constructor"], 'ds4: There is no command "constructor"; see ds4 --help\n'],
      [["chat", "--ctx", "0"], 'ds4: --ctx is "0": expected a whole number from 1 to 16777216\n'],
      [["chat", "-m", "nope.gguf", "-p", "x"], "there is no such file\n"],
      [["chat", "-m", "models/ds4-mini", "-p", "x"], "it is a folder, expected a GGUF file, as"],
      [["inspect", "-m", "models/ds4-mini/ds4-mini-q9.gguf"], "did you mean ds4-mini-q"],
      [["batch", "nope.jsonl"], "ds4: Cannot read nope.jsonl: there is no such file\n"],
      [["chat", "--prompt-file", "nope.txt"], "ds4: Cannot read nope.txt: there is no such file\n"],
    ]
    const got = await Promise.all(wrong.map(([args]) => ds4(args)))
    got.forEach(({ out, err, code }, i) => {
      expect([code, out, err.trim().split("\n").length]).toEqual([2, "", 1])
      expect(err).toContain(wrong[i]![1])
    })
  })

  test("a broken file is one line with exit code 1", async () => {
    const path = temporary("broken ü.gguf")
    writeFileSync(path, "<!doctype html><p>not found")
    const { err, code } = await ds4(["chat", "-m", path, "-p", "hi"])
    expect([code, err.trim().split("\n").length]).toEqual([1, 1])
    expect(err).toStartWith("ds4: ")
    expect(err).not.toContain("    at ")
  })
})

describe("ds4 chat, once", () => {
  test("answers on stdout with the model's text alone, and names the model it uses", async () => {
    const { out, err, code } = await ds4([...PLAIN, "-p", CAPITAL])
    expect([out, code]).toEqual(["The capital of France is Paris.", 0])
    expect(err).toMatch(
      /^Using ds4-mini, .*DeepSeek-V4-Flash.*\.gguf .*81 GiB.*~\/\.ds4\/models.*\n$/,
    )
  })

  test("thinks by default and keeps the reasoning from stdout; --json has both", async () => {
    const asked = ["chat", "--temp", "0", "-p", CAPITAL]
    const [plain, json] = await Promise.all([ds4(asked), ds4([...asked, "--json"])])
    const answer = JSON.parse(json.out)
    expect(answer).toMatchObject({
      text: plain.out,
      finish_reason: "stop",
      tool_calls: [],
      usage: { prompt_tokens: 13, prompt_tokens_details: { cached_tokens: 0 } },
      context: 32768,
    })
    expect(answer.reasoning).not.toBe("")
    expect(answer.timings.first_token_ms).toBeGreaterThan(0)
  })

  test("the question comes from stdin, a file, words, or several of them", async () => {
    const file = temporary("question.txt")
    writeFileSync(file, `\ufeff${CAPITAL}\r\n`)
    const ways: Parameters<typeof ds4>[] = [
      [PLAIN, { stdin: `${CAPITAL}\n` }],
      [PLAIN, { stdin: Bun.file(file) }],
      [[...PLAIN, "--prompt-file", file]],
      [[...PLAIN, "-p", "-"], { stdin: CAPITAL }],
      [[...PLAIN, ...CAPITAL.split(" ")]],
      [PLAIN.slice(1).concat("-p", CAPITAL)],
      [[...PLAIN, "-p", CAPITAL], { stdin: "open pipe" }],
      [[...PLAIN, "-m", MINI_Q2], { stdin: CAPITAL, env: { DS4_THREADS: "1" } }],
    ]
    const got = await Promise.all(ways.map((w) => ds4(...w)))
    expect(got.map((g) => g.out)).toEqual(ways.map(() => "The capital of France is Paris."))
  })

  test("with -p, only a regular file on stdin is read", async () => {
    const file = temporary("facts.txt")
    writeFileSync(file, "word ".repeat(50))
    const tokens = async (...run: Parameters<typeof ds4>) =>
      JSON.parse((await ds4(...run)).out).usage.prompt_tokens as number
    const asked = [...PLAIN, "--json", "-n", "1", "-p", "Hi"]
    expect(await tokens(asked)).toBe(5)
    expect(await tokens(asked, { stdin: "word ".repeat(50) })).toBe(5)
    expect(await tokens(asked, { stdin: Bun.file(file) })).toBeGreaterThan(50)
    expect(await tokens([...asked, "-"], { stdin: "word ".repeat(50) })).toBeGreaterThan(50)
  })

  test("an empty question is refused with a line of help", async () => {
    for (const { err, code } of await Promise.all([ds4(["chat"]), ds4(["chat", "-p", " "])])) {
      expect(code).toBe(2)
      expect(err).toContain('There is no question: give one with -p "…"')
    }
  })

  test("limits: -n, --stop, a prompt beyond the context, think-max without room", async () => {
    const [cut, stopped, long, hard] = await Promise.all([
      ds4([...PLAIN, "--json", "-n", "2", "-p", CAPITAL]),
      ds4([...PLAIN, "--stop", " is", "--stop", "xyz", "-p", CAPITAL]),
      ds4([...PLAIN, "-c", "128", "-p", "word ".repeat(200)]),
      ds4(["chat", "--think-max", "-n", "1", "-p", "hi"]),
    ])
    expect(JSON.parse(cut!.out).finish_reason).toBe("length")
    expect(stopped!.out).toBe("The capital of France")
    expect(long!.code).toBe(1)
    expect(long!.err).toMatch(/the conversation has \d+ tokens, the context holds 128/)
    expect(hard!.code).toBe(0)
    expect(hard!.err).toContain("needs a context of 393216 tokens, this one has 32768")
  })

  test("the same seed gives the same answer", async () => {
    const asked = ["chat", "--no-think", "--seed", "5", "-p", "Tell me a story."]
    const [a, b] = await Promise.all([ds4(asked), ds4(asked)])
    expect(a!.out).toBe(b!.out)
  })

  test("a reader that goes away ends it quietly", async () => {
    const child = Bun.spawn([...CLI, ...PLAIN, "-p", "Tell me a story."], {
      cwd: ROOT,
      env: cleanEnv(),
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    })
    await child.stdout.cancel()
    const err = await new Response(child.stderr).text()
    expect(await child.exited).toBe(0)
    expect(err.replace(/^Using .*\n/, "")).toBe("")
  })

  test("without a home there is a model all the same", async () => {
    const { out, code } = await ds4([...PLAIN, "-p", CAPITAL], { env: { HOME: "/nonexistent" } })
    expect([out, code]).toEqual(["The capital of France is Paris.", 0])
  })
})

describe("ds4 batch", () => {
  const parse = (out: string) =>
    out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
  const question = (text: string, more = {}) =>
    JSON.stringify({
      messages: [{ role: "user", content: text }],
      thinking: false,
      temperature: 0,
      ...more,
    })

  test("answers in order, whatever forms the requests have", async () => {
    const lines = [
      question("What is the capital of Italy?"),
      JSON.stringify({ prompt: "The capital of", max_tokens: 3, temperature: 0 }),
      "",
      JSON.stringify({ ids: [0, 427, 100], max_tokens: 2, temperature: 0 }),
      question(CAPITAL, { stop: [" Paris"] }),
      question(CAPITAL, { thinking: true }),
    ]
    const { out, err, code } = await ds4(["batch", "-", "--parallel", "2"], {
      stdin: lines.join("\n"),
    })
    const got = parse(out)
    expect([got.length, code]).toEqual([5, 0])
    expect(err.trim().split("\n").length).toBe(1)
    expect(got[0]).toMatchObject({ text: "The capital of Italy is Rome.", finish_reason: "stop" })
    expect(got[1]).toMatchObject({ finish_reason: "length", usage: { completion_tokens: 3 } })
    expect(got[1].ids.length).toBe(3)
    expect(got[2].usage).toMatchObject({ prompt_tokens: 3, total_tokens: 5 })
    expect(got[3].finish_reason).toBe("stop")
    expect(got[4].text).toMatch(/<\/think>.*Paris/s)
  })

  test("bad lines get errors of their own, the others answers", async () => {
    const bad: [string, string][] = [
      ["{", "Cannot read JSON"],
      ["[]", "expected a JSON object"],
      ["{}", "There is no prompt"],
      ['{"prompt": "a", "ids": [1]}', "prompt and ids are given"],
      [
        '{"prompt": "a", "temperature": "hot"}',
        'temperature is "hot": expected a number from 0 to',
      ],
      ['{"prompt": "a", "max_tokens": 1.5}', "max_tokens is 1.5: expected a whole number"],
      ['{"ids": [1, 99999]}', "ids[1] is 99999"],
      ['{"ids": []}', "at least one"],
      ['{"messages": [{"role": "robot", "content": "x"}]}', "robot"],
      ['{"prompt": "a", "stop": 5}', "stop: expected a text"],
    ]
    const lines = [...bad.map(([line]) => line), question(CAPITAL)]
    const { out, err, code } = await ds4(["batch", "-"], { stdin: lines.join("\n") })
    const got = parse(out)
    expect([got.length, code]).toEqual([lines.length, 1])
    bad.forEach(([, said], i) => {
      expect(got[i].error.line).toBe(i + 1)
      expect(got[i].error.message).toStartWith(`line ${i + 1}: `)
      expect(got[i].error.message).toContain(said)
      expect(got[i]).toMatchObject({ text: "", ids: [], finish_reason: "error" })
    })
    expect(got.at(-1).text).toBe("The capital of France is Paris.")
    expect(err).toContain("ds4: line 1: Cannot read JSON")
  })

  test("a prompt beyond --ctx is an error of its line", async () => {
    const lines = [question("word ".repeat(300)), question(CAPITAL)]
    const { out, code } = await ds4(["batch", "-", "-c", "128"], { stdin: lines.join("\n") })
    const got = parse(out)
    expect(code).toBe(1)
    expect(got[0].error.message).toMatch(/line 1: .* tokens, the context holds 128/)
    expect(got[1].text).toContain("Paris")
  })

  test("a neighbour does not change an answer", async () => {
    const lines = Array.from({ length: 6 }, (_, i) =>
      question(CAPITAL, { temperature: 1, seed: i }),
    )
    const [one, many] = await Promise.all([
      ds4(["batch", "-", "--parallel", "1"], { stdin: lines.join("\n") }),
      ds4(["batch", "-"], { stdin: lines.join("\n") }),
    ])
    const ids = (run: { out: string }) => parse(run.out).map((a) => a.ids)
    expect(ids(one!)).toEqual(ids(many!))
  })
})

describe("ds4 tokenize", () => {
  test("a text, as argument and on stdin, for people and for programs", async () => {
    const json = await ds4(["tokenize", "--json", "Hello <think>"])
    const { ids, tokens } = JSON.parse(json.out)
    expect(tokens.join("")).toBe("Hello <think>")
    expect((await ds4(["tokenize", "--json"], { stdin: "Hello <think>" })).out).toBe(json.out)
    const lines = (await ds4(["tokenize", "Hello", "<think>"])).out.trim().split("\n")
    expect(lines).toEqual(ids.map((id: number, i: number) => `${id}\t${JSON.stringify(tokens[i])}`))
    const special = JSON.parse(
      (await ds4(["tokenize", "--json", "--special", "Hello <think>"])).out,
    )
    expect(special.tokens.at(-1)).toBe("<think>")
    expect(tokens.at(-1)).not.toBe("<think>")
  })

  test("conversations, one or a line each", async () => {
    const one = { messages: [{ role: "user", content: "Hi" }], thinking: false }
    const file = temporary("two.jsonl")
    writeFileSync(file, `${JSON.stringify(one)}\n${JSON.stringify({ ...one, thinking: true })}\n`)
    const { out, code } = await ds4(["tokenize", "--chat", file, "--json"])
    expect(code).toBe(0)
    const [off, on] = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(off.text).toBe("<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜></think>")
    expect(on.text).toEndWith("<think>")
    expect(off.ids.length).toBe(5)
    const pretty = temporary("one.json")
    writeFileSync(pretty, JSON.stringify(one, null, 2))
    expect((await ds4(["tokenize", "--chat", pretty])).out).toBe(`${off.text}\n`)
  })
})
