/** Output that is held to a form: JSON by a schema, tool calls. A constraint is plain data and crosses to
 *  the engine's Worker; there it becomes a mask over the vocabulary for every token (design D4). */
import { type Json, parseJson } from "../chat/json.ts"
import { SchemaError } from "../errors.ts"
import { type CallTool, callsNode, callTools, textAndCallsNode } from "./calls.ts"
import { anyObject } from "./collections.ts"
import { Machine } from "./machine.ts"
import { Matcher, TokenMasks } from "./matcher.ts"
import { choice, type Node } from "./nodes.ts"
import { satisfiable } from "./prune.ts"
import { SchemaReader } from "./schema.ts"
import type { GrammarVocabulary } from "./vocabulary.ts"

export { callTools } from "./calls.ts"
export { Matcher } from "./matcher.ts"
export { type GrammarVocabulary, grammarVocabulary } from "./vocabulary.ts"

export type Constraint =
  /** A JSON text by a schema, which is JSON text itself; without one, any object. Or calls instead. */
  | { kind: "json"; schema?: string; orCalls?: Calls }
  /** Nothing but calls if `forced`, else text and then perhaps calls. */
  | ({ kind: "calls"; forced: boolean } & Calls)

export interface Calls {
  /** JSON text of a list of tools in OpenAI's shape. */
  tools: string
  /** Whether there may be several. */
  parallel: boolean
}

/** The grammar of a constraint. @throws SchemaError naming what cannot be held to */
export function grammarOf(constraint: Constraint, hasDsml: boolean): Node {
  const root = nodeOf(constraint, hasDsml)
  if (!satisfiable(root)) throw new SchemaError("The schema is satisfied by nothing that ends")
  return root
}

function nodeOf(constraint: Constraint, hasDsml: boolean): Node {
  if (constraint.kind === "json") {
    const { schema, orCalls } = constraint
    const json = schema === undefined ? anyObject() : schemaNode(parseJson(schema))
    return orCalls ? choice(json, callsNode(toolsOf(orCalls), most(orCalls), hasDsml)) : json
  }
  const tools = toolsOf(constraint)
  if (constraint.forced) return callsNode(tools, most(constraint), hasDsml)
  return textAndCallsNode(tools, most(constraint))
}

const schemaNode = (schema: Json) => new SchemaReader(schema).node(schema, "schema")
const most = ({ parallel }: Calls) => (parallel ? Infinity : 1)

function toolsOf({ tools }: Calls): CallTool[] {
  const json = parseJson(tools)
  return callTools(Array.isArray(json) ? json : [])
}

const MOST_GRAMMARS = 16

/** Grammars by their constraint, with all that was found out about their states; the last ones are kept. */
export class Grammars {
  readonly vocabulary: GrammarVocabulary
  readonly #kept = new Map<string, TokenMasks>()

  constructor(vocabulary: GrammarVocabulary) {
    this.vocabulary = vocabulary
  }

  /** A matcher at the beginning of a constraint's text. @throws SchemaError */
  matcher(constraint: Constraint): Matcher {
    const key = JSON.stringify(constraint)
    let masks = this.#kept.get(key)
    this.#kept.delete(key)
    masks ??= new TokenMasks(
      new Machine(grammarOf(constraint, this.vocabulary.hasDsml)),
      this.vocabulary,
    )
    this.#kept.set(key, masks)
    if (this.#kept.size > MOST_GRAMMARS) this.#kept.delete(this.#kept.keys().next().value!)
    return new Matcher(masks)
  }
}
