/** Which object on disk belongs to which page of the tree. */
import { kvSizes } from "../../model/kv-cache.ts"
import type { PageNode } from "../pages.ts"
import type { Runtime } from "../runtime.ts"
import { modelFingerprint } from "./fingerprint.ts"
import type { KvFolder } from "./folder.ts"
import { objectBytes, type ObjectId, type ObjectKind, pageKey, rootKey } from "./format.ts"

export class ObjectNames {
  readonly fingerprint: string
  readonly rootKey: string
  readonly #folder: KvFolder
  readonly #dataBytes: Record<ObjectKind, number>
  readonly #keys = new WeakMap<PageNode, string>()

  constructor(runtime: Runtime, folder: KvFolder) {
    const { file, config, backend } = runtime
    this.#folder = folder
    this.fingerprint = modelFingerprint(file, config, backend)
    this.rootKey = rootKey(this.fingerprint)
    const sizes = kvSizes(config, backend)
    this.#dataBytes = { page: sizes.pageBytes, point: sizes.resumePointBytes }
    this.#keys.set(runtime.tree.root, this.rootKey)
  }

  /** The key of a page, made of those before it where it is not known yet. */
  keyOf(node: PageNode): string {
    const unknown: PageNode[] = []
    let known = node
    for (; !this.#keys.has(known); known = known.parent!) unknown.push(known)
    let key = this.#keys.get(known)!
    for (const n of unknown.toReversed()) {
      key = pageKey(key, n.tokens)
      this.#keys.set(n, key)
    }
    return key
  }

  /** The object of a page of the tree. */
  idOf(kind: ObjectKind, node: PageNode): ObjectId {
    return this.id(kind, this.keyOf(node), node.parent!)
  }

  /** The object of a page under `parent` whose key is known. */
  id(kind: ObjectKind, key: string, parent: PageNode): ObjectId {
    const { fingerprint } = this
    return { kind, fingerprint, key, parent: this.keyOf(parent), depth: parent.depth + 1 }
  }

  pathOf(kind: ObjectKind, node: PageNode): string {
    return this.#folder.pathOf(this.idOf(kind, node))
  }

  path(kind: ObjectKind, key: string, parent: string): string {
    return this.#folder.pathOf({ kind, fingerprint: this.fingerprint, key, parent })
  }

  dataBytes(kind: ObjectKind): number {
    return this.#dataBytes[kind]
  }

  fileBytes(kind: ObjectKind): number {
    return objectBytes(kind, this.#dataBytes[kind])
  }
}
