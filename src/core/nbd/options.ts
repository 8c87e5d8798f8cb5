/** The data of options, as clients send them. Undefined for what does not keep to the form. */
import { STRING_BYTES_MAX } from './wire.ts';

export interface GoData {
  readonly name: string;
  /** Kinds of information that are asked for. */
  readonly infos: readonly number[];
}

export interface MetaQuery {
  readonly exportName: string;
  readonly queries: readonly string[];
}

/** Of INFO and GO: length (32 bits) and name, number of requests (16), requests (16 each). */
export function readGoData(data: Buffer): GoData | undefined {
  const name = readString(data, 0);
  if (name === undefined || data.length < name.end + 2) return undefined;
  const count = data.readUInt16BE(name.end);
  if (data.length !== name.end + 2 + count * 2) return undefined;
  const infos = Array.from({ length: count }, (_, i) => data.readUInt16BE(name.end + 2 + i * 2));
  return { name: name.text, infos };
}

/** Of the two META_CONTEXT options: length (32 bits) and export name, number of queries (32), each with its length (32). */
export function readMetaQuery(data: Buffer): MetaQuery | undefined {
  const name = readString(data, 0);
  if (name === undefined || data.length < name.end + 4) return undefined;
  const count = data.readUInt32BE(name.end);
  const queries: string[] = [];
  let at = name.end + 4;
  for (let i = 0; i < count; i++) {
    const query = readString(data, at);
    if (query === undefined) return undefined;
    queries.push(query.text);
    at = query.end;
  }
  return at === data.length ? { exportName: name.text, queries } : undefined;
}

function readString(data: Buffer, at: number): { readonly text: string; readonly end: number } | undefined {
  if (data.length < at + 4) return undefined;
  const length = data.readUInt32BE(at);
  const end = at + 4 + length;
  if (length > STRING_BYTES_MAX || data.length < end) return undefined;
  return { text: data.toString('utf8', at + 4, end), end };
}
