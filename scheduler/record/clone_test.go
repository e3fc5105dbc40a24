package record

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestCopy_CopiesEveryField(t *testing.T) {
	task, run := new(Task), new(Run)
	fill(task.ProtoReflect())
	fill(run.ProtoReflect())
	require.True(t, proto.Equal(task, task.Copy()), "Task.Copy forgets a field")
	require.True(t, proto.Equal(run, run.Copy()), "Run.Copy forgets a field")
}

// fill sets every field, and one that this version does not know.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("k").MapKey(), protoreflect.ValueOfString("v"))
		case f.IsList():
			m.Mutable(f).List().Append(protoreflect.ValueOfUint32(7))
		default:
			m.Set(f, something(f))
		}
	}
	m.SetUnknown(protoreflect.RawFields{0xf8, 0x7f, 0x01})
}

func something(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("x"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(2)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(3)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(4)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(5)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(6)
	}
	panic("a field of kind " + f.Kind().String() + " has no value in this test")
}
