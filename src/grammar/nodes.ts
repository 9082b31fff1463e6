/** What a grammar is made of. It describes symbols: the 256 bytes, and the one control token that output
 *  may hold, ｜DSML｜, so that no ordinary text is ever taken for it. */

/** The symbol of the token ｜DSML｜. */
export const DSML_SYMBOL = 256
export const N_SYMBOLS = 257

interface Base {
  readonly id: number
  /** Chosen by the sampler as it would choose without a grammar; all else is syntax, for which the most
   *  likely token is taken. */
  readonly isPayload: boolean
}

/** One symbol of a set. */
export interface SetNode extends Base {
  readonly kind: "set"
  readonly bits: Uint32Array
}
/** Symbols in a row. */
export interface LiteralNode extends Base {
  readonly kind: "literal"
  readonly symbols: readonly number[]
}
/** One of many literals, as a tree. */
export interface TreeNode extends Base {
  readonly kind: "tree"
  readonly next: Map<number, TreeNode>
  ends: boolean
}
export interface SequenceNode extends Base {
  readonly kind: "sequence"
  readonly items: readonly Node[]
}
/** One of its items; those that nothing satisfies are taken out. */
export interface ChoiceNode extends Base {
  readonly kind: "choice"
  items: readonly Node[]
}
/** Stands for a node that is known later. */
export interface LinkNode extends Base {
  readonly kind: "link"
  target: Node | null
}
export interface RepeatNode extends Base {
  readonly kind: "repeat"
  readonly item: Node
  readonly min: number
  max: number
}
/** Characters, as many as the bounds say: of a JSON string, raw UTF-8 or escaped, or of plain text, any
 *  but `<`. */
export interface TextNode extends Base {
  readonly kind: "text"
  readonly isJson: boolean
  readonly min: number
  readonly max: number
}
/** Any text up to and with `stop`, whose first symbol it has only once; then `then`. With `mayEnd` it may
 *  also just end, without either. */
export interface UntilNode extends Base {
  readonly kind: "until"
  readonly stop: readonly number[]
  /** Null where nothing can follow: then the stop must not come. */
  then: Node | null
  readonly mayEnd: boolean
}
/** Each item at most once, in any order; those that are required are not left out. */
export interface ShuffleNode extends Base {
  readonly kind: "shuffle"
  items: readonly { node: Node; isRequired: boolean }[]
}

export type Node =
  | SetNode
  | LiteralNode
  | TreeNode
  | SequenceNode
  | ChoiceNode
  | LinkNode
  | RepeatNode
  | TextNode
  | UntilNode
  | ShuffleNode

/** Counts in frames stay below this; larger bounds are none. */
export const MAX_COUNT = 2 ** 20
/** Items of a shuffle: one bit of a count each. */
export const MAX_SHUFFLED = 20

let lastId = 0
const base = (isPayload = false): Base => ({ id: ++lastId, isPayload })

export const symbolSet = (ranges: Iterable<readonly [number, number]>, isPayload = false): Node => {
  const bits = new Uint32Array(Math.ceil(N_SYMBOLS / 32))
  for (const [from, to] of ranges) for (let s = from; s <= to; s++) bits[s >> 5]! |= 1 << (s & 31)
  return { ...base(isPayload), kind: "set", bits }
}

export const hasSymbol = (bits: Uint32Array, symbol: number): boolean =>
  ((bits[symbol >> 5]! >>> (symbol & 31)) & 1) === 1

const utf8 = new TextEncoder()
/** The symbols of a text; every ｜DSML｜ in it is the token where `dsml` says that there is one. */
export function symbolsOf(text: string, dsml = false): number[] {
  if (!dsml) return [...utf8.encode(text)]
  return text
    .split("｜DSML｜")
    .flatMap((part, i) => (i === 0 ? [...utf8.encode(part)] : [DSML_SYMBOL, ...utf8.encode(part)]))
}

export const symbols = (all: readonly number[]): Node =>
  all.length === 0 ? EMPTY : { ...base(), kind: "literal", symbols: all }
export const literal = (text: string): Node => symbols(symbolsOf(text))

export const sequence = (...items: Node[]): Node =>
  items.length === 1 ? items[0]! : { ...base(), kind: "sequence", items }
export const choice = (...items: Node[]): Node =>
  items.length === 1 ? items[0]! : { ...base(), kind: "choice", items }
export const link = (): LinkNode => ({ ...base(), kind: "link", target: null })
export const EMPTY: Node = { ...base(), kind: "sequence", items: [] }
export const optional = (item: Node): Node => choice(item, EMPTY)

export const repeat = (item: Node, min: number, max = Infinity): Node => ({
  ...base(),
  kind: "repeat",
  item,
  min: Math.min(min, MAX_COUNT - 1),
  max: max < MAX_COUNT ? max : Infinity,
})

export const text = (min = 0, max = Infinity, isJson = true): Node => ({
  ...base(true),
  kind: "text",
  isJson,
  min: Math.min(min, MAX_COUNT - 1),
  max: max < MAX_COUNT ? max : Infinity,
})

export const until = (stop: readonly number[], then: Node, mayEnd = false): Node => ({
  ...base(true),
  kind: "until",
  stop,
  then,
  mayEnd,
})

export const shuffle = (items: ShuffleNode["items"]): Node => ({
  ...base(),
  kind: "shuffle",
  items,
})

/** One of these literals. */
export function tree(literals: Iterable<readonly number[]>): Node {
  const make = (): TreeNode => ({ ...base(true), kind: "tree", next: new Map(), ends: false })
  const root = make()
  for (const path of literals) {
    let at = root
    for (const symbol of path) {
      const known = at.next.get(symbol)
      if (known) at = known
      else at.next.set(symbol, (at = make()))
    }
    at.ends = true
  }
  return root
}
