/** The grammar of tool calls (spec §16.5), with the parameters that each tool's schema allows. */
import { type Json, type JsonObject, printJson } from "../chat/json.ts"
import { SchemaError } from "../errors.ts"
import { anyArray, anyObject, anyScalar, propertiesOf, valueLiteral } from "./collections.ts"
import { alternativesOf, isAnnotation, merge } from "./keywords.ts"
import {
  choice,
  literal,
  MAX_SHUFFLED,
  type Node,
  optional,
  repeat,
  sequence,
  shuffle,
  symbols,
  symbolsOf,
  tree,
  until,
} from "./nodes.ts"
import { newBudget, SchemaReader, typesOf } from "./schema.ts"
import { insideOf, stringRules } from "./strings.ts"

/** A tool as far as its calls go. */
export interface CallTool {
  name: string
  /** JSON Schema; null: no parameters. */
  parameters: Json
  /** The schema must be held to; else one that cannot be is taken for one that allows anything. */
  strict: boolean
}

const DSML = "｜DSML｜"
const CLOSE_VALUE = `</${DSML}parameter`
const MOST_CALLS = 16
/** The protocol itself writes an empty line where a call has no parameters. */
const EMPTY_LINE = literal("\n")
const NO_PARAMETERS = optional(EMPTY_LINE)

/** Calls of these tools and nothing else. @throws SchemaError naming tool and keyword */
export function callsNode(tools: readonly CallTool[], most: number, hasDsml: boolean): Node {
  return sequence(literal("\n\n"), new CallGrammar(hasDsml).block(tools, most))
}

/** Text in which calls may follow. @throws SchemaError naming tool and keyword */
export function textAndCallsNode(tools: readonly CallTool[], most: number): Node {
  const block = new CallGrammar(true).block(tools, most, "")
  return until(symbolsOf(`<${DSML}`, true), block, true)
}

class CallGrammar {
  readonly #hasDsml: boolean
  readonly #closeValue: Node
  readonly #budget = newBudget()

  constructor(hasDsml: boolean) {
    this.#hasDsml = hasDsml
    this.#closeValue = this.#literal(`${CLOSE_VALUE}>\n`)
  }

  #literal(text: string): Node {
    return symbols(symbolsOf(text, this.#hasDsml))
  }

  block(tools: readonly CallTool[], most: number, start = `<${DSML}`): Node {
    const call = choice(...tools.map((tool) => this.#call(tool)))
    return sequence(
      this.#literal(`${start}tool_calls>\n`),
      repeat(call, 1, Math.min(most, MOST_CALLS)),
      this.#literal(`</${DSML}tool_calls>`),
    )
  }

  #call(tool: CallTool): Node {
    return sequence(
      this.#literal(`<${DSML}invoke name="${tool.name}">\n`),
      this.#parameters(tool),
      this.#literal(`</${DSML}invoke>\n`),
    )
  }

  #parameters({ name, parameters, strict }: CallTool): Node {
    if (parameters === null) return NO_PARAMETERS
    try {
      return this.#declared(parameters, name)
    } catch (error) {
      if (strict || !(error instanceof SchemaError)) throw error
      return this.#anything()
    }
  }

  /** Parameters in any order. */
  #declared(schema: Json, path: string): Node {
    if (!(schema instanceof Map)) throw new SchemaError(`${path}: parameters must be a schema`)
    const reader = new SchemaReader(schema, this.#budget)
    const simple = reader.resolve(schema, path)
    const types = typesOf(simple, path)
    if (!types.includes("object") || ["anyOf", "oneOf", "enum", "const"].some((k) => simple.has(k)))
      throw new SchemaError(`${path}: parameters must be of type object`)
    const items = Array.from(
      propertiesOf(simple, path),
      ([key, { schema: value, isRequired }]) => ({
        node: this.#parameter(reader, key, value, `${path}.${key}`),
        isRequired,
      }),
    )
    const more = simple.get("additionalProperties") ?? false
    if (items.length === 0) return more === false ? NO_PARAMETERS : this.#anything()
    if (items.length <= MAX_SHUFFLED) {
      const canBeEmpty = !items.some((item) => item.isRequired)
      return canBeEmpty ? choice(shuffle(items), EMPTY_LINE) : shuffle(items)
    }
    return sequence(...items.map((item) => (item.isRequired ? item.node : optional(item.node))))
  }

  #parameter(reader: SchemaReader, key: string, schema: Json, path: string): Node {
    const parts: Parts = { text: [], json: [] }
    this.#split(reader, schema, path, parts)
    const kinds = [
      ...parts.text.map((node) => sequence(literal('true">'), node)),
      ...parts.json.map((node) => sequence(literal('false">'), node, this.#closeValue)),
    ]
    return sequence(this.#literal(`<${DSML}parameter name="${key}" string="`), choice(...kinds))
  }

  /** Strings are written as they are, all else as JSON. */
  #split(reader: SchemaReader, schema: Json, path: string, parts: Parts): void {
    if (schema === true) {
      parts.text.push(this.#free())
      parts.json.push(anyScalar, anyObject(), anyArray())
      return
    }
    if (!(schema instanceof Map)) return void parts.json.push(reader.node(schema, path))
    const simple = reader.resolve(schema, path)
    const keyword = ["anyOf", "oneOf"].find((k) => simple.has(k))
    if (keyword !== undefined) {
      const rest = new Map([...simple].filter(([k]) => k !== keyword && !isAnnotation(k)))
      for (const option of alternativesOf(simple.get(keyword)!, path))
        this.#split(reader, merge(rest, reader.resolve(option, path), path), path, parts)
      return
    }
    const literals = simple.has("const") ? [simple.get("const")!] : simple.get("enum")
    if (Array.isArray(literals)) return this.#values(literals, path, parts)
    const types = typesOf(simple, path)
    if (types.includes("string")) parts.text.push(this.#text(simple, path))
    const others = types.filter((type) => type !== "string")
    if (others.length > 0)
      parts.json.push(reader.node(new Map<string, Json>([...simple, ["type", others]]), path))
  }

  #values(values: readonly Json[], path: string, parts: Parts): void {
    const texts = values.filter((value) => typeof value === "string")
    const others = values.filter((value) => typeof value !== "string")
    if (values.length === 0) throw new SchemaError(`${path}: enum has no value`)
    if (texts.some((value) => value.includes(CLOSE_VALUE)))
      throw new SchemaError(`${path}: enum has a value that would end itself`)
    if (texts.length > 0)
      parts.text.push(sequence(tree(texts.map((value) => symbolsOf(value))), this.#closeValue))
    if (others.length > 0) parts.json.push(tree(others.map(valueLiteral)))
  }

  /** A string and its closing tag. */
  #text(schema: JsonObject, path: string): Node {
    const rules = stringRules(schema, path)
    const isFree = rules.min === 0 && rules.max === Infinity && rules.pattern === undefined
    return isFree ? this.#free() : sequence(insideOf(rules, false), this.#closeValue)
  }

  /** Any text and its closing tag. */
  #free(): Node {
    return until(symbolsOf(CLOSE_VALUE, this.#hasDsml), literal(">\n"))
  }

  /** Parameters of any name, as text or as JSON. */
  #anything(): Node {
    const json = choice(anyScalar, anyObject(), anyArray())
    const name = insideOf({ min: 1, max: 64, pattern: "^[A-Za-z_][A-Za-z0-9_.-]{0,63}$" }, false)
    const one = sequence(
      this.#literal(`<${DSML}parameter name="`),
      name,
      literal('" string="'),
      choice(
        sequence(literal('true">'), this.#free()),
        sequence(literal('false">'), json, this.#closeValue),
      ),
    )
    return repeat(one, 0, 32)
  }
}

interface Parts {
  text: Node[]
  json: Node[]
}

/** Tools as they stand in a request, as calls are made of them. @throws SchemaError for what is no tool */
export function callTools(tools: readonly Json[]): CallTool[] {
  return tools.map((tool, i) => {
    const fn = tool instanceof Map ? tool.get("function") : undefined
    const name = fn instanceof Map ? fn.get("name") : undefined
    if (!(fn instanceof Map) || typeof name !== "string")
      throw new SchemaError(`tools.${i}: a tool needs a name, not ${printJson(tool)}`)
    const parameters = fn.get("parameters") ?? null
    const isEmpty = parameters instanceof Map && parameters.size === 0
    return { name, parameters: isEmpty ? null : parameters, strict: fn.get("strict") === true }
  })
}
