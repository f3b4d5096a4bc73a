/**
 * One huge JPEG picture as a grid of tiles: between two restart markers the stream can be decoded on its own, given the picture's
 * tables and a size of its own. Several such pieces below each other make one tile.
 */
import type { ByteSource } from './byte-source.ts';
import type { TileGrid } from './tile-grid.ts';

export interface JpegPicture {
  readonly width: number;
  readonly height: number;
  /** Where the stream lies in the file. */
  readonly offset: number;
  readonly length: number;
  /** Where each restart interval begins, from `offset` on; empty if the file does not say. */
  readonly restarts: readonly number[];
}

const maxWholePixels = 64 * 1024 * 1024;
const maxHeader = 1024 * 1024;
/** Tiles are made about this high. */
const tileRows = 256;

/** @throws Error if the stream is no JPEG, or is too large to decode whole and has no restart markers. */
export async function restartTiles(source: ByteSource, picture: JpegPicture): Promise<TileGrid> {
  const { width, height, offset, length, restarts } = picture;
  const head = await source.read(offset, Math.min(restarts[0] ?? length, length, maxHeader));
  const frame = frameOf(head);
  const mcusAcross = Math.ceil(width / frame.mcuWidth);
  const mcuRows = Math.ceil(height / frame.mcuHeight);
  const across = mcusAcross / frame.interval;
  if (restarts.length === 0 || !Number.isInteger(across) || restarts.length < across * mcuRows)
    return wholePicture(source, picture);
  const header = head.slice(0, restarts[0]);
  const tileWidth = frame.interval * frame.mcuWidth;
  const pieceRows = Math.max(1, Math.floor(tileRows / frame.mcuHeight));
  const endOfPiece = (piece: number) => restarts[piece + 1] ?? length;
  return {
    width,
    height,
    tileWidth,
    tileHeight: pieceRows * frame.mcuHeight,
    encoding: jpegOf(tileWidth, pieceRows * frame.mcuHeight),
    async read(column, row, signal) {
      const firstRow = row * pieceRows;
      const rows = Math.min(pieceRows, mcuRows - firstRow);
      const pieces = await Promise.all(
        Array.from({ length: rows }, (_, i) => {
          const piece = (firstRow + i) * across + column;
          return source.read(offset + restarts[piece]!, endOfPiece(piece) - restarts[piece]!, signal);
        }),
      );
      return joinPieces(withSize(header, frame.sizeAt, tileWidth, rows * frame.mcuHeight), pieces);
    },
  };
}

/** Pieces end in a restart marker, the last one of all in the end of the picture; here they are counted anew. */
function joinPieces(header: Uint8Array, pieces: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(header.length + pieces.reduce((sum, piece) => sum + piece.length, 0) + 2);
  joined.set(header);
  let at = header.length;
  pieces.forEach((piece, i) => {
    const marker = piece[piece.length - 1]! & 0xf8;
    const marked = piece[piece.length - 2] === 0xff && (marker === 0xd0 || piece[piece.length - 1] === 0xd9);
    if (i < pieces.length - 1 && !marked) throw new Error('a restart marker is not where the file says');
    const content = marked ? piece.subarray(0, -2) : piece;
    joined.set(content, at);
    at += content.length;
    joined[at++] = 0xff;
    joined[at++] = i < pieces.length - 1 ? 0xd0 + (i % 8) : 0xd9;
  });
  return joined.subarray(0, at);
}

/** A picture of one tile. */
async function wholePicture(source: ByteSource, { width, height, offset, length }: JpegPicture): Promise<TileGrid> {
  if (width * height > maxWholePixels)
    throw new Error(`a level of ${width} x ${height} pixels cannot be cut into tiles`);
  return {
    width,
    height,
    tileWidth: width,
    tileHeight: height,
    encoding: jpegOf(width, height),
    read: (_column, _row, signal) => source.read(offset, length, signal),
  };
}

function jpegOf(width: number, height: number): TileGrid['encoding'] {
  return { codec: 'jpeg', width, height, colour: 'rgb', samples: 3, differenced: false };
}

interface Frame {
  readonly mcuWidth: number;
  readonly mcuHeight: number;
  /** Blocks between two restart markers. */
  readonly interval: number;
  /** Where height and width stand in the header. */
  readonly sizeAt: number;
}

function frameOf(head: Uint8Array): Frame {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  let frame: Omit<Frame, 'interval'> | undefined;
  let interval = 0;
  if (view.getUint16(0) !== 0xffd8) throw new Error('a level is no JPEG picture');
  for (let at = 2; at + 4 <= head.length; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint16(at);
    if (marker === 0xffc0 || marker === 0xffc1) {
      const components = head[at + 9]!;
      const factors = Array.from({ length: components }, (_, i) => view.getUint8(at + 11 + i * 3));
      frame = {
        mcuWidth: 8 * Math.max(...factors.map((factor) => factor >> 4)),
        mcuHeight: 8 * Math.max(...factors.map((factor) => factor & 15)),
        sizeAt: at + 5,
      };
    } else if (marker === 0xffdd) interval = view.getUint16(at + 4);
    else if (marker === 0xffda) break;
  }
  if (!frame || !(frame.mcuWidth > 0 && frame.mcuHeight > 0)) throw new Error('a level has no JPEG frame');
  return { ...frame, interval };
}

function withSize(header: Uint8Array, at: number, width: number, height: number): Uint8Array {
  const changed = header.slice();
  const view = new DataView(changed.buffer);
  view.setUint16(at, height);
  view.setUint16(at + 2, width);
  return changed;
}
