<?php
// PHP as the judge of rewriting. Reads requests from stdin and answers on stdout: four bytes of length, then JSON.
// "write" builds each described value twice, before and after the move, and serializes both: the second is what a
// rewriter has to make of the first. "judge" says what is wrong with an answer, in a process that knows no classes but
// those without which PHP could not read the value at all.

declare(strict_types=1);
error_reporting(E_ALL & ~E_DEPRECATED);

// phpcs:disable
class Sealed implements Serializable
{
    public string $data = '';
    public function serialize() { return $this->data; }
    public function unserialize($data) { $this->data = $data; }
}
enum Suit: string { case Hearts = 'h'; case Spades = 's'; }

if (in_array('writer', $argv, true)) {
    eval('namespace Acme; class Bag { private $hidden; protected $inner; public $open; }
        #[\AllowDynamicProperties] class Box extends Bag { private $hidden; protected $second; }');
}
// phpcs:enable

final class Builder
{
    private array $marks = [];

    public function __construct(private array $addresses, private string $side)
    {
    }

    public function build(array $node): mixed
    {
        [$type, $what] = [$node[0], $node[1] ?? null];
        return match ($type) {
            'null' => null,
            'scalar' => $what,
            'float' => (float) $what,
            'enum' => Suit::from($what),
            'text' => implode('', array_map($this->text(...), $what)),
            'array' => $this->items($what),
            'object' => $this->object($what),
            'list' => new ArrayObject($this->items($what)),
            'sealed' => $this->seal((string) $this->build($what)),
            'sealed-away' => $this->seal('21:' . (new self($this->addresses, 'old'))->build($what)),
            'json' => json_encode($this->build($what), $node[2] | JSON_THROW_ON_ERROR),
            'serialized' => serialize((new self($this->addresses, $this->side))->build($what)),
            'percent' => $node[2] ? urlencode($this->build($what)) : rawurlencode($this->build($what)),
            'broken' => $this->breakApart(serialize((new self($this->addresses, 'old'))->build($what)), $node[2]),
        };
    }

    private function text(array $part): string
    {
        if ($part[0] === 'literal') {
            return base64_decode($part[1]);
        }
        $text = $this->addresses[$part[1]][$this->side] . $part[2];
        foreach ($part[3] as $escape) {
            $text = match ($escape) {
                'slash' => str_replace('/', '\\/', $text),
                'json' => substr(json_encode($text), 1, -1),
                'percent' => rawurlencode($text),
                'percent-lower' => preg_replace_callback('/%../', fn ($m) => strtolower($m[0]), rawurlencode($text)),
            };
        }
        return $text;
    }

    private function items(array $items): array
    {
        $built = [];
        foreach ($items as [$key, $node]) {
            $key = $this->build($key);
            if ($node[0] === 'mark') {
                $this->marks[$node[1]] = $this->build($node[2]);
            }
            if ($node[0] === 'mark' || $node[0] === 'again') {
                $built[$key] = &$this->marks[$node[1]];
            } elseif ($node[0] === 'same') {
                $built[$key] = $this->marks[$node[1]];
            } else {
                $built[$key] = $this->build($node);
            }
        }
        return $built;
    }

    private function object(array $items): object
    {
        $object = new Acme\Box();
        $set = function (array $built): void {
            foreach (array_keys($built) as $key) {
                $this->$key = &$built[$key];
            }
        };
        $half = intdiv(count($items), 2);
        Closure::bind($set, $object, Acme\Bag::class)($this->items(array_slice($items, 0, $half)));
        Closure::bind($set, $object, Acme\Box::class)($this->items(array_slice($items, $half)));
        return $object;
    }

    private function seal(string $payload): Sealed
    {
        $sealed = new Sealed();
        $sealed->data = $payload;
        return $sealed;
    }

    private function breakApart(string $value, string $how): string
    {
        return match ($how) {
            'cut' => substr($value, 0, -1),
            'longer' => $value . 'x',
            'miscounted' => preg_replace_callback('/(?<=s:)\d+(?=:")/', fn ($m) => (string) ($m[0] + 1), $value, 1),
            'slashed' => addslashes($value),
        };
    }
}

/** The value with every layer of serialized data and JSON opened, so that only what it means is compared. */
function open_layers(mixed $value): mixed
{
    if (is_object($value)) {
        return [get_class($value), open_layers($value instanceof UnitEnum ? $value->name : (array) $value)];
    }
    if (is_array($value)) {
        $opened = [];
        foreach ($value as $key => $inner) {
            $opened[$key] = open_layers($inner);
        }
        return $opened;
    }
    if (!is_string($value)) {
        return $value;
    }
    foreach ([$value, urldecode($value)] as $text) {
        $inner = @unserialize($text);
        $inner = $inner === false ? json_decode($text, true) : $inner;
        if (is_array($inner) || is_object($inner)) {
            return open_layers($inner);
        }
    }
    return $value;
}

function judge(string $answer, string $expected): string
{
    if ($answer === $expected) {
        $read = @unserialize($answer);
        return $read === false && $answer !== 'b:0;' ? 'unreadable' : 'exact';
    }
    $read = @unserialize($answer);
    if ($read === false && $answer !== 'b:0;') {
        return 'unreadable';
    }
    return open_layers($read) == open_layers(unserialize($expected)) ? 'equal' : 'different';
}

/** Whether the grammar is sound, and if so whether the classes named in the value take what it holds. */
function read_state(string $value): string
{
    try {
        return @unserialize($value) === false ? 'malformed' : 'read';
    } catch (Throwable) {
        return 'rejected by its class';
    }
}

function answer(array $request): array
{
    return match ($request['op']) {
        'write' => array_map(function (array $case): array {
            $sides = [];
            foreach (['old', 'new'] as $side) {
                $sides[] = base64_encode(serialize((new Builder($case['addresses'], $side))->build($case['value'])));
            }
            return $sides;
        }, $request['cases']),
        'judge' => array_map(fn ($case) => judge(...array_map('base64_decode', $case)), $request['cases']),
        'read' => array_map(fn ($case) => read_state(base64_decode($case)), $request['cases']),
    };
}

while (($head = fread(STDIN, 4)) !== false && strlen($head) === 4) {
    $body = stream_get_contents(STDIN, unpack('N', $head)[1]);
    $answer = json_encode(answer(json_decode($body, true, 4096, JSON_THROW_ON_ERROR)), JSON_THROW_ON_ERROR);
    fwrite(STDOUT, pack('N', strlen($answer)) . $answer);
    fflush(STDOUT);
}
